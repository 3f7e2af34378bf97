"""Variants of a signal: stretching and shifting are equal to librosa; other changes can be measured."""

import hashlib
import subprocess
import sys

import librosa
import numpy as np
import pytest

from genremill.udfs.dsp.augmentation import (
    NOISE_DB,
    SEMITONES,
    STRETCH,
    Augmentation,
    Variant,
    faster,
    noisy,
    shifted,
    stretched,
    varied,
)
from genremill.udfs.feature_sets.base import Signal
from genremill.udfs.feature_sets.gtzan57 import Gtzan57
from tests.audio.audio_corpus import SR, chord, drums, song, tone


def strongest_hz(y: Signal) -> float:
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    return float(np.argmax(spectrum) * SR / len(y))


def power(y: Signal) -> float:
    return float(np.mean(np.square(y, dtype=np.float64)))


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.1, 1.25])
def test_stretching_is_equal_to_librosa(rate: float) -> None:
    y = song(3.0)
    ours, theirs = stretched(y, rate), librosa.effects.time_stretch(y, rate=rate)
    assert len(ours) == len(theirs)
    # librosa adds phases in single precision.
    assert np.sqrt(power(ours - theirs) / power(theirs)) < 0.02


@pytest.mark.parametrize("semitones", [-2.5, 1.0])
def test_shifting_is_equal_to_librosa(semitones: float) -> None:
    y = chord(3.0)
    ours = shifted(y, SR, semitones)
    theirs = librosa.effects.pitch_shift(y, sr=SR, n_steps=semitones, res_type="soxr_hq")
    assert len(ours) == len(theirs) == len(y)
    assert np.sqrt(power(ours - theirs) / power(theirs)) < 0.02


def test_a_stretched_tone_keeps_its_pitch_and_a_shifted_one_its_length() -> None:
    y = tone(3.0, hz=440.0)
    assert len(stretched(y, 1.25)) == round(len(y) / 1.25)
    assert strongest_hz(stretched(y, 1.25)) == pytest.approx(440, abs=1)
    assert strongest_hz(shifted(y, SR, 12.0)) == pytest.approx(880, abs=1)
    assert len(shifted(y, SR, -7.0)) == len(y)


@pytest.mark.parametrize(("speed", "hz"), [(0.8, 352.0), (1.25, 550.0)])
def test_a_faster_tone_is_shorter_and_higher(speed: float, hz: float) -> None:
    y = faster(tone(3.0, hz=440.0), SR, speed)
    assert len(y) == pytest.approx(3 * SR / speed, abs=1)
    assert strongest_hz(y) == pytest.approx(hz, abs=1)


def test_faster_drums_have_a_higher_tempo() -> None:
    tempo = Gtzan57().value_names.index("tempo")
    found = [
        Gtzan57().values(y)[tempo] for y in (drums(10.0, bpm=100), faster(drums(12.5, bpm=100), SR, 1.25))
    ]
    assert found == pytest.approx([100, 125], rel=0.03)


def test_noise_has_the_requested_level_below_the_signal() -> None:
    y = song(3.0)
    noise = noisy(y, 20.0, np.random.default_rng(0)) - y
    assert power(y) / power(noise) == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("variant", Variant)
def test_a_variant_only_depends_on_the_seed_and_has_the_requested_length(variant: Variant) -> None:
    y = song(2.5)
    augmentation = Augmentation(variant, 2.0)
    one, again, other = (augmentation.applied(y, SR, seed) for seed in ("a", "a", "b"))
    assert np.array_equal(one, again)
    assert one.dtype == np.float32
    assert len(one) == 2 * SR
    assert np.abs(one).max() <= 1
    assert not np.array_equal(one, y[: len(one)])
    drawn = variant not in (Variant.SLOWED, Variant.NIGHTCORE)
    assert drawn != np.array_equal(one, other)


def test_another_process_draws_the_same_numbers() -> None:
    code = """
import hashlib
from genremill.udfs.dsp.augmentation import Augmentation, Variant
from tests.audio.audio_corpus import tone
print(hashlib.sha256(Augmentation(Variant.NOISE, 1.0).applied(tone(1.0), 22050, "a").tobytes()).hexdigest())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = Augmentation(Variant.NOISE, 1.0).applied(tone(1.0), SR, "a")
    assert ran.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


def test_random_numbers_are_within_their_limits() -> None:
    y = song(0.5)
    lengths = [len(varied(y, SR, Variant.STRETCH, np.random.default_rng(seed))) for seed in range(20)]
    assert len(y) / STRETCH[1] - 1 <= min(lengths) < len(y) < max(lengths) <= len(y) / STRETCH[0] + 1
    for seed in range(20):
        noise = varied(y, SR, Variant.NOISE, np.random.default_rng(seed)) - y
        assert NOISE_DB[0] - 1 < 10 * np.log10(power(y) / power(noise)) < NOISE_DB[1] + 1
    tones = [varied(tone(1.0), SR, Variant.PITCH, np.random.default_rng(seed)) for seed in range(8)]
    steps = [12 * np.log2(strongest_hz(y) / 440) for y in tones]
    assert -SEMITONES - 0.1 < min(steps) < 0 < max(steps) < SEMITONES + 0.1
