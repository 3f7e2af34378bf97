"""The constant-Q transform, equal to librosa 0.11's.

It starts with the highest octave. It cuts the signal into frames, computes their spectra and multiplies them
by a small sparse basis. Then it halves the rate of the signal, and the same basis gives the next octave
(Schoerkhuber and Klapuri, Constant-Q transform toolbox for music processing, 2010).

Chroma is normalized frame by frame, so a frame with almost no energy (silence after a note, a constant) shows
the ringing of the resampler and earlier rounding errors at full scale. To be equal to librosa even there, all
roundings are librosa's: soxr resamples with its settings, and spectra are computed in double precision,
rounded to single precision, and only then filtered.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.sparse
import soxr

from genremill.infra.errors import UsageError
from genremill.udfs.dsp.pitch import estimate_tuning
from genremill.udfs.dsp.spectra import Double, Real, frames, hann, librosa_filters, magnitudes
from genremill.udfs.feature_sets.base import Signal

C1 = 440.0 * 2.0 ** ((24 - 69) / 12)
"""Frequency of the lowest bin in Hz."""
OCTAVES = 7
TUNING_WINDOW = 2048
"""Window of the spectrum from which the tuning is estimated, as in librosa."""
SPARSITY = 0.01
"""Share of the magnitude of each filter's spectrum that is dropped."""
FRAMES_AT_ONCE = 256
"""Frames in one FFT call: the frames and their spectra fit into the L2 cache of a core."""


@dataclass(frozen=True)
class Basis:
    """The filters of one octave at its own sample rate; they are the same for all octaves."""

    n_fft: int
    low: int
    """First bin of a spectrum of `n_fft` samples that a filter uses."""
    filters: scipy.sparse.csr_matrix
    """Weights of each filter for the bins from `low` on, shape (12, bins used), complex64."""
    lengths: Double
    """Length of each filter of the transform in samples at the full rate, lowest bin first."""
    halvings: int
    """How often the rate of the signal is halved before the first octave."""


def constant_q(y: Signal, *, sr: int, hop_length: int, tuning: float | None = None) -> Real:
    """Magnitudes of the constant-Q transform, shape (84, frames): seven octaves of twelve bins.

    `tuning` is in fractions of a bin, one of the hundred values that `estimate_tuning` can return; None
    estimates it. The hop is halved with the rate: raises `UsageError` if it is not a multiple of 64.
    """
    if hop_length % 2 ** (OCTAVES - 1):
        raise UsageError(f"a hop of {hop_length} samples: expected a multiple of {2 ** (OCTAVES - 1)}")
    if tuning is None:
        S_TF = magnitudes(y, n_fft=TUNING_WINDOW, hop_length=TUNING_WINDOW // 4)
        tuning = estimate_tuning(S_TF, sr=sr)
    basis = _basis(sr, hop_length, tuning)
    y, hop_length = _lower_rate(y, 2**basis.halvings), hop_length >> basis.halvings
    octaves = [_responses(y, hop_length, basis, 0)]
    for octave in range(1, OCTAVES):
        y, hop_length = _lower_rate(y, 2), hop_length // 2
        octaves.append(_responses(y, hop_length, basis, octave))
    count = min(response.shape[1] for response in octaves)
    transform = np.concatenate([response[:, :count] for response in reversed(octaves)])
    transform /= np.sqrt(basis.lengths).astype(np.float32)[:, np.newaxis]
    return transform


def _responses(y: Signal, hop_length: int, basis: Basis, octave: int) -> Real:
    """Magnitude of each filter's response to centered frames, shape (12, frames), `octave` octaves down."""
    y_frames = frames(np.pad(y, basis.n_fft // 2), basis.n_fft, hop_length)
    used = slice(basis.low, basis.low + basis.filters.shape[1])
    spectra = np.empty((basis.filters.shape[1], len(y_frames)), np.complex64)
    double = np.empty((FRAMES_AT_ONCE, basis.n_fft))
    transformed = np.empty((FRAMES_AT_ONCE, basis.n_fft // 2 + 1), np.complex128)
    for start in range(0, len(y_frames), FRAMES_AT_ONCE):
        count = min(FRAMES_AT_ONCE, len(y_frames) - start)
        double[:count] = y_frames[start : start + count]
        np.fft.rfft(double[:count], out=transformed[:count])
        spectra[:, start : start + count] = transformed[:count, used].T
    # A sparse product adds in the order of the bins, like librosa; a dense product does not.
    return np.asarray(np.abs((basis.filters * np.float32(2 ** (octave / 2))) @ spectra), np.float32)


def _lower_rate(y: Signal, factor: int) -> Signal:
    """The signal at its rate divided by `factor`, with the same energy."""
    if factor == 1:
        return y
    length = -(-len(y) // factor)
    lowered = soxr.resample(y, factor, 1, quality="soxr_hq")[:length]
    lowered = np.pad(lowered, (0, length - len(lowered)))
    lowered /= np.sqrt(1 / factor)
    return lowered


@lru_cache(maxsize=256)
def _basis(sr: int, hop_length: int, tuning: float) -> Basis:
    filters = librosa_filters()
    from librosa import cqt_frequencies, util  # here: the import is slow, and --help does not need it

    freqs = cqt_frequencies(12 * OCTAVES, fmin=C1, tuning=tuning)
    width = 2.0 ** (2 / 12)
    alpha = (width - 1) / (width + 1)
    _, cutoff = filters.wavelet_lengths(freqs=freqs, sr=sr, alpha=alpha, window=hann)
    # First, the rate is halved as often as possible while one octave above the highest filter is left.
    by_rate = max(0, int(np.ceil(np.log2(sr / 2 / cutoff)) - 1) - 1)
    factors_of_two = (hop_length & -hop_length).bit_length() - 1
    halvings = min(by_rate, factors_of_two - OCTAVES + 1)
    rate = sr / 2**halvings
    lengths, _ = filters.wavelet_lengths(freqs=freqs, sr=rate, alpha=alpha, window=hann)
    wavelets, top_lengths = filters.wavelet(freqs=freqs[-12:], sr=rate, alpha=alpha, window=hann)
    n_fft = wavelets.shape[1]
    wavelets *= (top_lengths / n_fft)[:, np.newaxis]
    spectra = scipy.fft.fft(wavelets, axis=1)[:, : n_fft // 2 + 1]
    sparse = util.sparsify_rows(spectra, quantile=SPARSITY).astype(np.complex64)
    low, high = sparse.indices.min(), sparse.indices.max() + 1
    return Basis(n_fft, int(low), sparse[:, low:high], lengths, halvings)
