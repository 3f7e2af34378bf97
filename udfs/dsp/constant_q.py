"""The constant-Q transform and the chroma made of it, number for number librosa 0.11's.

Octave by octave, from the top: frames of the signal, their spectrum, a small sparse basis; then the signal is
halved in rate and the next octave has the same basis again (Schoerkhuber and Klapuri, Constant-Q transform
toolbox for music processing, 2010).

Chroma is normalised frame by frame, so where there is next to nothing to hear (silence after a note, a
constant, a tone above the highest octave) what it shows is the resampler's ringing and the rounding of the
steps before, at full scale. Being equal there means the same roundings: the resampler is soxr with librosa's
settings, spectra are computed in double precision, rounded to single, and only then filtered.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.ndimage
import scipy.signal
import scipy.sparse
import soxr

from genremill.infra.errors import UsageError
from genremill.udfs.dsp.spectra import TINY, frames
from genremill.udfs.feature_sets.base import Signal

Matrix = npt.NDArray[np.float32]

C1 = 440.0 * 2.0 ** ((24 - 69) / 12)
"""Frequency of the lowest bin, Hz."""
SPARSITY = 0.01
"""Share of each filter's spectrum, by magnitude, that is left out."""
HANN_BANDWIDTH = 1.50018310546875
"""Equivalent noise bandwidth of the Hann window, in bins, as librosa's table has it."""
FRAMES_AT_ONCE = 256
"""Frames in one FFT call: they and their spectra stay in a core's L2 cache."""
CENS_STEPS = (0.4, 0.2, 0.1, 0.05)
CENS_FRAMES = 41


@dataclass(frozen=True)
class ConstantQ:
    """Which bins a transform has, and how often; the hop is halved with the rate, octave by octave."""

    sr: int = 22050
    hop_length: int = 512
    bins_per_octave: int = 12
    n_octaves: int = 7

    def __post_init__(self) -> None:
        if self.hop_length % 2 ** (self.n_octaves - 1):
            raise UsageError(
                f"a hop of {self.hop_length} samples: expected a multiple of {2 ** (self.n_octaves - 1)}"
            )


@dataclass(frozen=True)
class Basis:
    """The filters of one octave at its own sample rate: all octaves have the same."""

    n_fft: int
    low: int
    """First bin of a spectrum of `n_fft` samples that any filter takes."""
    filters: scipy.sparse.csr_matrix
    """What each filter takes of the bins from `low` on, shape (bins_per_octave, bins taken), complex64."""
    lengths: npt.NDArray[np.float64]
    """Length of each of the transform's filters in samples at full rate, lowest bin first."""
    halvings: int
    """How often the signal can be halved in rate before the first octave."""


def constant_q(y: Signal, settings: ConstantQ, *, tuning: float) -> Matrix:
    """Magnitudes of the constant-Q transform, shape (n_octaves * bins_per_octave, frames).

    `tuning` is in fractions of a bin, one of the hundred that `estimate_tuning` can give.
    """
    basis = _basis(settings, tuning)
    y = _lower_rate(y, 2**basis.halvings)
    hop_length = settings.hop_length >> basis.halvings
    octaves = []
    for octave in range(settings.n_octaves):
        octaves.append(_responses(y, hop_length, basis, np.float32(2 ** (octave / 2))))
        if octave + 1 < settings.n_octaves:
            y, hop_length = _lower_rate(y, 2), hop_length // 2
    count = min(one.shape[1] for one in octaves)
    transform = np.concatenate([one[:, :count] for one in reversed(octaves)])
    transform /= np.sqrt(basis.lengths).astype(np.float32)[:, np.newaxis]
    return transform


def _responses(y: Signal, hop_length: int, basis: Basis, scale: np.float32) -> Matrix:
    """Magnitude of each filter's response to centred frames, shape (bins_per_octave, frames)."""
    y_frames = frames(np.pad(y, basis.n_fft // 2), basis.n_fft, hop_length)
    taken = basis.filters.shape[1]
    spectra = np.empty((taken, len(y_frames)), np.complex64)
    double = np.empty((FRAMES_AT_ONCE, basis.n_fft))
    transformed = np.empty((FRAMES_AT_ONCE, basis.n_fft // 2 + 1), np.complex128)
    for start in range(0, len(y_frames), FRAMES_AT_ONCE):
        count = min(FRAMES_AT_ONCE, len(y_frames) - start)
        double[:count] = y_frames[start : start + count]
        np.fft.rfft(double[:count], out=transformed[:count])
        spectra[:, start : start + count] = transformed[:count, basis.low : basis.low + taken].T
    # A sparse product adds up in the order of the bins, as librosa's does; a dense one would not.
    magnitudes: Matrix = np.abs((basis.filters * scale) @ spectra)
    return magnitudes


def _lower_rate(y: Signal, factor: int) -> Signal:
    """The signal at a `factor`-th of its rate, its energy kept."""
    if factor == 1:
        return y
    length = -(-len(y) // factor)
    lowered: Signal = soxr.resample(y, factor, 1, quality="soxr_hq")[:length]
    if len(lowered) < length:
        lowered = np.pad(lowered, (0, length - len(lowered)))
    lowered /= np.sqrt(1 / factor)
    return lowered


@functools.lru_cache(maxsize=256)
def _basis(settings: ConstantQ, tuning: float) -> Basis:
    bins = settings.n_octaves * settings.bins_per_octave
    ratios = 2.0 ** (np.arange(settings.bins_per_octave) / settings.bins_per_octave)
    fmin = C1 * 2.0 ** (tuning / settings.bins_per_octave)
    freqs = np.multiply.outer(2.0 ** np.arange(settings.n_octaves), ratios).ravel() * fmin
    width = 2.0 ** (2 / settings.bins_per_octave)
    alpha = (width - 1) / (width + 1)
    cutoff = freqs[-1] * (1 + 0.5 * HANN_BANDWIDTH * alpha)
    halvings = _halvings(settings, cutoff)
    sr = settings.sr / 2**halvings
    lengths = sr / (alpha * freqs)
    top = slice(bins - settings.bins_per_octave, bins)
    n_fft = int(2.0 ** np.ceil(np.log2(lengths[top].max())))
    filters = np.zeros((settings.bins_per_octave, n_fft), np.complex64)
    for row, length, freq in zip(filters, lengths[top], freqs[top], strict=True):
        wavelet = np.exp(2j * np.pi * freq / sr * np.arange(-length // 2, length // 2))
        wavelet *= scipy.signal.get_window("hann", len(wavelet))
        wavelet /= np.abs(wavelet).sum()
        start = (n_fft - len(wavelet)) // 2
        row[start : start + len(wavelet)] = wavelet
    filters *= (lengths[top] / n_fft)[:, np.newaxis]
    spectra = _sparse(scipy.fft.fft(filters, axis=1)[:, : n_fft // 2 + 1])
    taken = np.flatnonzero(spectra.any(axis=0))
    low, high = int(taken[0]), int(taken[-1]) + 1
    return Basis(n_fft, low, scipy.sparse.csr_matrix(spectra[:, low:high]), lengths, halvings)


def _halvings(settings: ConstantQ, cutoff: float) -> int:
    """How often the rate can be halved first, with an octave to spare above the highest filter."""
    room = max(0, int(np.ceil(np.log2(settings.sr / 2 / cutoff)) - 1) - 1)
    even = (settings.hop_length & -settings.hop_length).bit_length() - 1
    return min(room, max(0, even - settings.n_octaves + 1))


def _sparse(spectra: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    """The spectra without the smallest magnitudes that add up to less than `SPARSITY` of each row."""
    magnitudes = np.abs(spectra)
    ordered = np.sort(magnitudes, axis=1)
    share = np.cumsum(ordered / magnitudes.sum(axis=1, keepdims=True), axis=1)
    least = np.take_along_axis(ordered, np.argmin(share < SPARSITY, axis=1)[:, np.newaxis], axis=1)
    return np.where(magnitudes >= least, spectra, np.complex64(0))


def chroma_cqt(transform: Matrix) -> Matrix:
    """Energy of the twelve pitch classes from C on, the loudest of each frame 1, shape (12, frames).

    `transform` is a constant-Q transform from C1 on, of 12 bins an octave or a multiple.
    """
    classes = _pitch_classes(transform)
    return _divided(classes, classes.max(axis=0))


def chroma_cens(transform: Matrix) -> Matrix:
    """Chroma energy normalized statistics: quantised, smoothed chroma, shape (12, frames).

    Mueller and Ewert, Chroma Toolbox (2011).
    """
    classes = _pitch_classes(transform)
    shares = _divided(classes, classes.sum(axis=0, dtype=np.float64))
    levels = np.zeros_like(shares)
    for step in CENS_STEPS:
        levels += shares > np.float32(step)
    window = scipy.signal.get_window("hann", CENS_FRAMES + 2, fftbins=False)[1:-1]
    smooth = scipy.ndimage.convolve1d(levels / 4, window / window.sum(), axis=1, mode="constant")
    return _divided(smooth, np.sqrt(np.square(smooth, dtype=np.float64).sum(axis=0)))


def tonnetz(chroma: Matrix) -> npt.NDArray[np.float64]:
    """Tonal centroids: fifths, minor and major thirds, each as x and y, shape (6, frames).

    Harte, Sandler and Gasser, Detecting Harmonic Change in Musical Audio (2006).
    """
    shares = _divided(chroma, chroma.sum(axis=0, dtype=np.float64))
    steps = np.multiply.outer([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3], np.arange(12.0))
    steps[::2] -= 0.5
    radii = np.array([1, 1, 1, 1, 0.5, 0.5])[:, np.newaxis]
    found: npt.NDArray[np.float64] = (radii * np.cos(np.pi * steps)) @ shares.astype(np.float64)
    return found


def _pitch_classes(transform: Matrix, n_octaves: int = 7) -> Matrix:
    bins, frames = transform.shape
    merged = bins // n_octaves // 12
    around = np.roll(transform, merged // 2, axis=0)
    classes: Matrix = around.reshape(n_octaves, 12, merged, frames).sum(axis=(0, 2))
    return classes


def _divided(rows: Matrix, norm: npt.NDArray[np.floating]) -> Matrix:
    """Each frame by its norm; a frame without energy stays as it is."""
    return (rows / np.where(norm < TINY, 1.0, norm)).astype(np.float32)
