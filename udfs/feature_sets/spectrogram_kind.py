"""The kinds of spectrograms."""

import enum


class Kind(enum.StrEnum):
    """What an image shows over time; its first line is the lowest frequency, class or lag."""

    DB = "db"  # magnitudes in dB relative to the largest, from -80
    POWER_DB = "power_db"  # powers in dB, at most 80 below the largest
    PHASE = "phase"  # phases of the spectrum in radians
    CHROMA = "chroma"  # 12 pitch classes of the spectrum, relative to the largest
    CHROMA_CQT = "chroma_cqt"  # 12 pitch classes of the constant-Q transform
    MFCC = "mfcc"  # 20 coefficients
    MEL = "mel"  # 128 mel bands in dB
    CQT = "cqt"  # 84 bins of the constant-Q transform in dB relative to the largest, from -80
    TEMPOGRAM = "tempogram"  # autocorrelation of onsets, up to 384 frames
    TONNETZ = "tonnetz"  # 6 coordinates of the constant-Q chroma
