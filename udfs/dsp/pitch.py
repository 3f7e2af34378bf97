"""Pitch classes and tuning of a spectrum, equal to librosa 0.11 but many times faster.

Shape suffixes: T frames, F bins of the spectrum, C pitch classes.
"""

from functools import lru_cache

import numpy as np

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.spectra import TINY, Real, fft_frequencies


@lru_cache(maxsize=256)
def chroma_filters(sr: int, n_fft: int, *, tuning: float = 0.0, n_chroma: int = 12) -> Real:
    """Gaussian filters from bins to pitch classes, C first, shape (C, F); as `librosa.filters.chroma`."""
    frequencies = np.linspace(0, sr, n_fft, endpoint=False)[1:]
    a0 = 440.0 * 2.0 ** (tuning / n_chroma) / 16
    classes = n_chroma * np.log2(frequencies / a0)
    # 0 Hz gets a place 1.5 octaves under the first bin.
    classes = np.concatenate(([classes[0] - 1.5 * n_chroma], classes))
    widths = np.concatenate((np.maximum(classes[1:] - classes[:-1], 1.0), [1]))
    half = np.round(n_chroma / 2)
    away = np.subtract.outer(np.arange(n_chroma, dtype=float), classes)
    away = np.remainder(-away + half + 10 * n_chroma, n_chroma) - half
    filters = np.exp(-0.5 * (2 * away / widths) ** 2)
    filters /= np.sqrt(np.sum(filters**2, axis=0))
    # Octaves count by a Gaussian around the fifth, two octaves wide.
    filters *= np.exp(-0.5 * (((classes / n_chroma - 5.0) / 2.0) ** 2))
    filters = np.roll(filters, -3 * (n_chroma // 12), axis=0)
    return np.ascontiguousarray(filters[:, : 1 + n_fft // 2], dtype=np.float32)


def chroma(P_TF: Real, *, sr: int, tuning: float, n_chroma: int = 12) -> Real:
    """Power in each pitch class, relative to the frame's strongest, shape (T, C); as `chroma_stft`."""
    n_fft = 2 * (P_TF.shape[1] - 1)
    raw_TC: Real = P_TF @ chroma_filters(sr, n_fft, tuning=tuning, n_chroma=n_chroma).T
    largest = raw_TC.max(axis=1, keepdims=True)
    raw_TC /= np.where(largest < TINY, np.float32(1), largest)
    return raw_TC


def estimate_tuning(
    P_TF: Real, *, sr: int, resolution: float = 0.01, fmin: float = 150.0, fmax: float = 4000.0
) -> float:
    """Deviation from A = 440 Hz in semitones, in [-0.5, 0.5); as `librosa.estimate_tuning` of powers."""
    n_fft = 2 * (P_TF.shape[1] - 1)
    low, high = np.searchsorted(fft_frequencies(sr, n_fft), (fmin, fmax))
    over = np.float32(0.1) * P_TF.max(axis=1)
    pitches, strengths = _spectral_peaks(P_TF, over, int(low), int(high), float(sr), n_fft)
    if not len(pitches):
        return 0.0
    pitches = pitches[strengths >= np.median(strengths)]
    off = np.mod(12 * np.log2(pitches / 27.5), 1.0)
    off[off >= 0.5] -= 1.0
    edges = np.linspace(-0.5, 0.5, int(np.ceil(1.0 / resolution)) + 1)
    counts, _ = np.histogram(off, edges)
    return float(edges[np.argmax(counts)])


# Rounding stays as written: the histogram of pitches must fall into librosa's bins.
@kernel("(float32[:, ::1], float32[::1], int64, int64, float64, int64)")
def _spectral_peaks(P_TF: Real, over: Real, low: int, high: int, sr: float, n_fft: int) -> tuple[Real, Real]:
    """Frequency in Hz and power of each frame's peaks that are larger than the frame's `over`.

    As `librosa.piptrack` finds them in bins `low` to `high`: interpolated by parabolas.
    """
    count = len(P_TF)
    is_peak = np.empty(high - low, np.uint8)
    room = count * (high - low + 1) // 2 + 1
    pitches, strengths = np.empty(room, np.float32), np.empty(room, np.float32)
    peaks = 0
    for t in range(count):
        here_F, least = P_TF[t, low:high], over[t]
        before_F, after_F = P_TF[t, low - 1 : high - 1], P_TF[t, low + 1 : high + 1]
        # Apart from the rest, as this loop can be vectorised: peaks are few.
        for k in range(high - low):
            is_peak[k] = (here_F[k] > least) & (here_F[k] > before_F[k]) & (here_F[k] >= after_F[k])
        for k in range(high - low):
            if is_peak[k]:
                here, before, after = here_F[k], before_F[k], after_F[k]
                bend = np.float64(np.float32(after + before)) - 2.0 * here
                slope = np.float64(np.float32(after - before)) / 2
                shift = np.float32(0)
                if abs(slope) < abs(bend):
                    shift = np.float32(-slope / bend)
                rise = np.float32(np.float32(after - before) / np.float32(2))
                pitches[peaks] = (low + k + shift) * sr / n_fft
                strengths[peaks] = here + np.float32(np.float32(0.5) * rise * shift)
                peaks += 1
    return pitches[:peaks], strengths[:peaks]
