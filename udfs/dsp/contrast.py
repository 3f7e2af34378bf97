"""Spectral contrast: the distance between the peaks and the valleys of each octave."""

from functools import lru_cache

import numpy as np

from genremill.udfs.dsp.spectra import Double, Real, fft_frequencies

FMIN = 200.0
"""Upper edge of the lowest band in Hz; each higher band is one octave wide."""
OCTAVES = 6
QUANTILE = 0.02
"""Share of the bins of a band that is averaged at each end."""
AMIN = 1e-10
TOP_DB = 80.0


def spectral_contrast(S_TF: Real, *, sr: int) -> Double:
    """Decibels from valley to peak in seven bands, lowest first, shape (7, T).

    As `librosa.feature.spectral_contrast` of magnitudes (Jiang et al. 2002), which converts them to decibels
    as if they were powers.
    """
    n_fft = 2 * (S_TF.shape[1] - 1)
    bands = _bands(sr, n_fft)
    valleys, peaks = np.empty((len(bands), len(S_TF))), np.empty((len(bands), len(S_TF)))
    for valley, peak, (start, end, count) in zip(valleys, peaks, bands, strict=True):
        ordered = np.sort(S_TF[:, start:end], axis=1)
        valley[:] = ordered[:, :count].mean(axis=1)
        peak[:] = ordered[:, -count:].mean(axis=1)
    return _decibels(peaks) - _decibels(valleys)


def _decibels(magnitudes: Double) -> Double:
    """Decibels, at most `TOP_DB` below the largest of all bands and frames."""
    db: Double = 10.0 * np.log10(np.maximum(AMIN, magnitudes))
    np.maximum(db, db.max() - TOP_DB, out=db)
    return db


@lru_cache
def _bands(sr: int, n_fft: int) -> list[tuple[int, int, int]]:
    """First bin of each band, the bin after its last, and the number of bins of a valley or a peak."""
    freqs = fft_frequencies(sr, n_fft)
    edges = np.concatenate(([0.0], FMIN * 2.0 ** np.arange(OCTAVES + 1)))
    starts = np.searchsorted(freqs, edges[:-1], side="left")
    ends = np.searchsorted(freqs, edges[1:], side="right")
    # Like librosa: bands above the lowest also have the bin below their edge, and the highest has all bins
    # that are left. The others lose their last bin after the quantile has been counted.
    starts[1:] -= 1
    ends[-1] = len(freqs)
    counts = np.maximum(np.rint(QUANTILE * (ends - starts)).astype(np.int64), 1)
    ends[:-1] -= 1
    return list(zip(starts.tolist(), ends.tolist(), counts.tolist(), strict=True))
