"""The tuning of a spectrum, equal to librosa 0.11's but many times faster.

Shape suffixes: T frames, F bins of the spectrum.
"""

import numpy as np

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.spectra import Real, fft_frequencies


def estimate_tuning(
    P_TF: Real, *, sr: int, resolution: float = 0.01, fmin: float = 150.0, fmax: float = 4000.0
) -> float:
    """Deviation from A = 440 Hz in semitones, in [-0.5, 0.5); as `librosa.estimate_tuning`."""
    n_fft = 2 * (P_TF.shape[1] - 1)
    low, high = np.searchsorted(fft_frequencies(sr, n_fft), (fmin, fmax))
    floor_T = np.float32(0.1) * P_TF.max(axis=1)
    pitches, strengths = _spectral_peaks(P_TF, floor_T, int(low), int(high), float(sr), n_fft)
    if not len(pitches):
        return 0.0
    pitches = pitches[strengths >= np.median(strengths)]
    deviations = np.mod(12 * np.log2(pitches / 27.5), 1.0)
    deviations[deviations >= 0.5] -= 1.0
    edges = np.linspace(-0.5, 0.5, int(np.ceil(1.0 / resolution)) + 1)
    counts, _ = np.histogram(deviations, edges)
    return float(edges[np.argmax(counts)])


# No fastmath: the histogram of pitches must fall into the same bins as librosa's.
@kernel("(float32[:, ::1], float32[::1], int64, int64, float64, int64)")
def _spectral_peaks(
    P_TF: Real, floor_T: Real, low: int, high: int, sr: float, n_fft: int
) -> tuple[Real, Real]:
    """Frequency in Hz and power of the peaks of each frame that are above the floor of the frame.

    As `librosa.piptrack` finds them in bins `low` to `high`: interpolated by parabolas.
    """
    count = len(P_TF)
    is_peak = np.empty(high - low, np.uint8)
    most = count * (high - low + 1) // 2 + 1
    pitches, strengths = np.empty(most, np.float32), np.empty(most, np.float32)
    peaks = 0
    for t in range(count):
        here_F, floor = P_TF[t, low:high], floor_T[t]
        before_F, after_F = P_TF[t, low - 1 : high - 1], P_TF[t, low + 1 : high + 1]
        # A loop of its own, because it can be vectorized; peaks are rare.
        for k in range(high - low):
            is_peak[k] = (here_F[k] > floor) & (here_F[k] > before_F[k]) & (here_F[k] >= after_F[k])
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
