"""Spectra of a signal and what is read off them, equal to librosa 0.11 but many times faster.

Frames come first, shape (frames, bins), so that a frame lies together in memory; librosa has bins first.
Shape suffixes: T frames, F bins of the spectrum, M mel bands.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.simd import TILE, at_least_a_tile, transpose_rows
from genremill.udfs.feature_sets.base import Signal

Real = npt.NDArray[np.float32]
Complex = npt.NDArray[np.complex64]
Double = npt.NDArray[np.float64]

FRAMES_AT_ONCE = 16
"""Frames in one FFT call: windowed frames and spectra of so many stay in a core's L2 cache."""
BINS_AT_ONCE = 4
"""Bins of a mel band that are weighted in one step."""
TINY = np.finfo(np.float32).tiny


@lru_cache
def hann(n_fft: int) -> Double:
    """The periodic Hann window, shape (n_fft,)."""
    # To the bit what scipy.signal gives, which takes a third of a second to import.
    window: Double = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, n_fft + 1)[:-1])
    return window


@lru_cache
def fft_frequencies(sr: int, n_fft: int) -> Double:
    """Centre of each bin in Hz, shape (F,)."""
    return np.asarray(np.fft.rfftfreq(n_fft, 1 / sr), np.float64)


def frames(y: Signal, frame_length: int, hop_length: int) -> Signal:
    """Overlapping frames of `y` as a view, shape (T, frame_length)."""
    return np.lib.stride_tricks.sliding_window_view(y, frame_length)[::hop_length]


def stft(y: Signal, *, n_fft: int, hop_length: int) -> Complex:
    """Spectrum of each frame, centred, the signal's ends padded with zeros; shape (T, F).

    As librosa does, transforms in double precision and keeps single: the bits are librosa's.
    """
    padded = np.pad(y, n_fft // 2)
    count = 1 + (len(padded) - n_fft) // hop_length
    D_TF = np.empty((count, n_fft // 2 + 1), np.complex64)
    windowed = np.empty((FRAMES_AT_ONCE, n_fft))
    for start in range(0, count, FRAMES_AT_ONCE):
        block = D_TF[start : start + FRAMES_AT_ONCE]
        fill_windows(padded[start * hop_length :], hann(n_fft), hop_length, windowed)
        block[:] = scipy.fft.rfft(windowed[: len(block)])
    return D_TF


@kernel("(float32[::1], float64[::1], int64, float64[:, ::1])")
def fill_windows(y: Signal, window: Double, hop_length: int, windowed: Double) -> None:
    """Fills `windowed` with the signal's first frames, as many as there are, times the window."""
    length = len(window)
    for t in range(min(len(windowed), 1 + (len(y) - length) // hop_length)):
        for n in range(length):
            windowed[t, n] = y[t * hop_length + n] * window[n]


def magnitude(D_TF: Complex) -> Real:
    """Magnitude of a spectrum, shape (T, F)."""
    return np.abs(D_TF)


def power(S_TF: Real) -> Real:
    """Power of a magnitude spectrum, shape (T, F)."""
    return np.square(S_TF)


def spectral_shape(S_TF: Real, *, sr: int, roll_percent: float = 0.85) -> tuple[Double, Double, Double]:
    """Centroid, bandwidth and rolloff in Hz of a magnitude spectrum, each of shape (T,).

    As `librosa.feature.spectral_centroid`, `spectral_bandwidth` and `spectral_rolloff`.
    """
    bin_width = sr / (2 * (S_TF.shape[1] - 1))
    centroid, bandwidth = _centroid_and_bandwidth(S_TF) * bin_width
    rolloff = _rolloff(at_least_a_tile(S_TF), roll_percent)[: len(S_TF)] * bin_width
    return centroid, bandwidth, rolloff


@kernel("(float32[:, ::1],)", fastmath={"contract", "nsz", "reassoc"})
def _centroid_and_bandwidth(S_TF: Real) -> Double:
    """Centroid and bandwidth in bins, shape (2, T)."""
    count, bins = S_TF.shape
    found = np.zeros((2, count))
    for t in range(count):
        total, first, second = 0.0, 0.0, 0.0
        for k in range(bins):
            weight = np.float64(S_TF[t, k])
            total += weight
            first += weight * k
            second += weight * k * k
        if total >= TINY:
            centroid = first / total
            found[0, t] = centroid
            found[1, t] = np.sqrt(max(0.0, second / total - centroid * centroid))
    return found


# Sums in the order and precision of librosa's: in a frame with most of its energy in few bins, the many weak
# ones count for no more than their rounding.
@kernel("(float32[:, ::1], float64)")
def _rolloff(S_TF: Real, roll_percent: float) -> npt.NDArray[np.int64]:
    """First bin at which the sum of a frame's bins reaches its share of the whole, shape (T,)."""
    count, bins = S_TF.shape
    found = np.empty(count, np.int64)
    columns = np.empty((bins, TILE), np.float32)
    running = columns.reshape(bins * TILE)
    for tile in range(0, count, TILE):
        first = min(tile, count - TILE)
        transpose_rows(S_TF, first, columns)
        for at in range(TILE, bins * TILE):
            running[at] += running[at - TILE]
        for lane in range(TILE):
            share = np.float32(roll_percent) * columns[bins - 1, lane]
            found[first + lane] = np.searchsorted(columns[:, lane], share)
    return found


def power_to_db(S: Real, *, amin: float = 1e-10, top_db: float = 80.0) -> Real:
    """Decibels of powers, cut off `top_db` under the largest; same shape."""
    db = np.log10(np.maximum(S, np.float32(amin)))
    db *= np.float32(10)
    np.maximum(db, db.max() - np.float32(top_db), out=db)
    return db


@lru_cache
def mel_frequencies(count: int, *, fmin: float, fmax: float) -> Double:
    """Frequencies in Hz, evenly spaced on Slaney's mel scale, shape (count,)."""
    # The scale is linear up to 1 kHz (15 mels of 200/3 Hz), then 27 mels for each factor of 6.4.
    step, knee = 200.0 / 3, 1000.0
    log_step = np.log(6.4) / 27

    def to_mel(hz: float) -> float:
        return hz / step if hz < knee else knee / step + float(np.log(hz / knee)) / log_step

    mels = np.linspace(to_mel(fmin), to_mel(fmax), count)
    above = mels >= knee / step
    hz: Double = np.where(above, knee * np.exp(log_step * (mels - knee / step)), step * mels)
    return hz


@lru_cache
def mel_filters(sr: int, n_fft: int, *, n_mels: int = 128) -> Real:
    """Triangular filters of equal area from 0 Hz to sr/2, shape (M, F); as `librosa.filters.mel`."""
    edges = mel_frequencies(n_mels + 2, fmin=0.0, fmax=sr / 2)
    widths = np.diff(edges)
    ramps = np.subtract.outer(edges, fft_frequencies(sr, n_fft))
    rising, falling = -ramps[:-2] / widths[:-1, np.newaxis], ramps[2:] / widths[1:, np.newaxis]
    filters = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters *= (2.0 / (edges[2:] - edges[:-2]))[:, np.newaxis]
    return filters


@lru_cache
def _slaney_bands(sr: int, n_fft: int, n_mels: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return mel_bands(mel_filters(sr, n_fft, n_mels=n_mels))


def mel_bands(filters_MF: Real) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First bin of each mel band, and the bin after its last; a multiple of `BINS_AT_ONCE` lies between."""
    lit = filters_MF > 0
    widths = BINS_AT_ONCE * np.ceil(lit.sum(axis=1) / BINS_AT_ONCE).astype(np.int64)
    ends = np.minimum(lit.argmax(axis=1) + widths, lit.shape[1])
    return ends - widths, ends


def mel_spectrogram(P_TF: Real, *, sr: int, n_mels: int = 128) -> Real:
    """Power in mel bands, shape (T, M); as `librosa.feature.melspectrogram`."""
    n_fft = 2 * (P_TF.shape[1] - 1)
    starts, ends = _slaney_bands(sr, n_fft, n_mels)
    filters = mel_filters(sr, n_fft, n_mels=n_mels)
    return _sums_in_bands(at_least_a_tile(P_TF), filters, starts, ends)[: len(P_TF)]


@kernel("(float32[:, ::1], float32[:, ::1], int64[::1], int64[::1])", fastmath={"contract", "nsz"})
def _sums_in_bands(
    P_TF: Real, weights_MF: Real, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> Real:
    """Weighted sums over bins; a band's weights are zero outside its start and end."""
    (count, bins), bands = P_TF.shape, len(weights_MF)
    found = np.empty((count, bands), np.float32)
    columns, sums = np.empty((bins, TILE), np.float32), np.empty(TILE, np.float32)
    for tile in range(0, count, TILE):
        first = min(tile, count - TILE)
        transpose_rows(P_TF, first, columns)
        for m in range(bands):
            sums[:] = 0
            for k in range(starts[m], ends[m], BINS_AT_ONCE):
                a, b, c, d = weights_MF[m, k : k + BINS_AT_ONCE]
                for lane in range(TILE):
                    first_two = a * columns[k, lane] + b * columns[k + 1, lane]
                    last_two = c * columns[k + 2, lane] + d * columns[k + 3, lane]
                    sums[lane] += first_two + last_two
            found[first : first + TILE, m] = sums
    return found


def mfcc(log_mel_TM: Real, *, n_mfcc: int = 20) -> Real:
    """Mel-frequency cepstral coefficients of a log-power mel spectrogram, shape (T, n_mfcc)."""
    coefficients: Real = scipy.fft.dct(log_mel_TM, norm="ortho")[:, :n_mfcc]
    return coefficients
