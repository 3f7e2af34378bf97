"""Decoded signals are identical to librosa, and every bad file gets its reason."""

import math
import os
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError
from genremill.udfs.decoding import decode as decoding, formats
from genremill.udfs.decoding.recording import MIN_PEAK
from genremill.udfs.decoding.segments import Codec, FileView, Segment
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, Offset, capacity
from tests.audio.audio_faults_corpus import (
    FAULTS,
    FRAMES,
    SR,
    Fault,
    constant_rate_mp3,
    encoded,
    flipped,
    good,
    long_flac,
    recorded,
    tone,
    wav,
    without_xing,
)
from tests.conftest import real_data

SETTINGS = DecodeSettings(sr=SR, seconds=30)


def decode(path: Path, settings: DecodeSettings = SETTINGS, budget: Budget | None = None) -> Decoded:
    fd = os.open(path, os.O_RDONLY)
    try:
        return decoding.decode(fd, settings, budget)
    finally:
        os.close(fd)


def segments(path: Path) -> list[Segment]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return list(formats.segments(FileView(fd), math.inf))
    finally:
        os.close(fd)


def reason(path: Path, settings: DecodeSettings = SETTINGS, budget: Budget | None = None) -> AudioReason:
    with pytest.raises(AudioRejected) as caught:
        decode(path, settings, budget)
    assert caught.value.reason in (AudioReason.EMPTY, AudioReason.SILENT) or caught.value.detail
    return caught.value.reason


def written(folder: Path, data: bytes) -> Path:
    path = folder / "audio"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.name))
def test_every_bad_file_has_its_reason_or_coverage(fault: Fault, tmp_path: Path) -> None:
    path = written(tmp_path, fault.make())
    if fault.reason:
        assert reason(path) is fault.reason
    else:
        decoded = decode(path)
        assert decoded.coverage == pytest.approx(fault.coverage, abs=1e-3)
        assert np.isfinite(decoded.y).all()


ENCODINGS: list[tuple[dict[str, Any], int, int]] = [
    *(({"subtype": kind}, 44100, 2) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *(({"subtype": "PCM_16"}, sr, 2) for sr in (4000, 8000, 16000, 22050, 48000, 96000)),
    *(({"subtype": "FLOAT"}, 44100, channels) for channels in (1, 3, 6, 8)),
    ({"container": "WAVEX"}, 44100, 2),
    ({"container": "RF64"}, 44100, 2),
    *(({"container": "FLAC", "subtype": kind}, 44100, 2) for kind in ("PCM_S8", "PCM_16", "PCM_24")),
    ({"container": "OGG", "subtype": "VORBIS"}, 44100, 2),
    ({"container": "OGG", "subtype": "OPUS"}, 48000, 2),
    ({"container": "OGG", "subtype": "OPUS"}, 24000, 1),
    ({"container": "MP3"}, 44100, 2),
    ({"container": "MP3"}, 22050, 1),
    ({"container": "MP3"}, 11025, 2),
]


@pytest.mark.parametrize(("options", "sr", "channels"), ENCODINGS, ids=str)
def test_the_signal_is_equal_to_librosa(
    options: dict[str, Any], sr: int, channels: int, tmp_path: Path
) -> None:
    path = written(tmp_path, encoded(tone(2 * sr + 17, sr, channels), sr, **options))
    decoded = decode(path)
    expected, _ = librosa.load(path, sr=SR)
    np.testing.assert_array_equal(decoded.y, expected)
    assert decoded.y.dtype == np.float32
    assert decoded.coverage == 1
    assert decoded.seconds_decoded == pytest.approx(2 + 17 / sr, abs=0.06)  # codecs add padding and delay


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("offset", Offset)
def test_only_the_requested_seconds_are_returned(container: str, offset: Offset, tmp_path: Path) -> None:
    sr, seconds = 44100, 1.2345
    path = written(tmp_path, encoded(tone(5 * sr, sr, 2), sr, container))
    decoded = decode(path, DecodeSettings(sr=SR, seconds=seconds, offset=offset))
    start = (5 * sr - int(seconds * sr)) // 2 if offset is Offset.MIDDLE else 0
    expected, _ = librosa.load(path, sr=SR, offset=(start + 0.5) / sr, duration=seconds)
    np.testing.assert_array_equal(decoded.y, expected)
    assert decoded.seconds_decoded == int(seconds * sr) / sr


def test_a_file_shorter_than_requested_is_decoded_completely(tmp_path: Path) -> None:
    for offset in Offset:
        decoded = decode(written(tmp_path, good("WAV")), DecodeSettings(sr=SR, seconds=30, offset=offset))
        assert (len(decoded.y), decoded.coverage, decoded.seconds_decoded) == (FRAMES, 1, 3)


def test_only_the_requested_seconds_of_six_hours_are_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, long_flac(level=8000))
    assert soundfile.info(path).duration == pytest.approx(6 * 3600, abs=2)
    for offset in Offset:
        assert decode(path, DecodeSettings(sr=SR, seconds=30, offset=offset)).seconds_decoded == 30


def test_coverage_is_relative_to_the_requested_part(tmp_path: Path) -> None:
    path = written(tmp_path, good("WAV")[: len(good("WAV")) // 2])
    assert decode(path, DecodeSettings(sr=SR, seconds=1)).coverage == 1
    assert decode(path, DecodeSettings(sr=SR, seconds=1.6)).coverage == pytest.approx(1.5 / 1.6, abs=1e-3)
    assert reason(path, DecodeSettings(sr=SR, seconds=1, offset=Offset.MIDDLE)) is AudioReason.TRUNCATED
    assert reason(path, DecodeSettings(sr=SR, seconds=2)) is AudioReason.TRUNCATED
    beyond = written(tmp_path, good("WAV")[: len(good("WAV")) // 4])
    assert reason(beyond, DecodeSettings(sr=SR, seconds=1, offset=Offset.MIDDLE)) is AudioReason.TRUNCATED


def test_a_truncated_mp3_without_xing_header_looks_complete(tmp_path: Path) -> None:
    mp3 = without_xing(constant_rate_mp3())
    decoded = decode(written(tmp_path, mp3[: len(mp3) // 3]))
    assert decoded.coverage == pytest.approx(1, abs=0.05)
    assert decoded.seconds_decoded == pytest.approx(1, abs=0.1)


def test_a_variable_bit_rate_mp3_without_xing_header_is_complete(tmp_path: Path) -> None:
    # libsndfile estimates the length from the bit rate of the first frame, and would stop there.
    loud_then_soft = tone(10 * SR) * np.where(np.arange(10 * SR) < SR, 1, 1e-3)[:, None].astype(np.float32)
    mp3 = encoded(loud_then_soft, container="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    path = written(tmp_path, without_xing(mp3))
    assert soundfile.info(path).duration < 9
    decoded = decode(path)
    assert decoded.coverage == 1
    assert decoded.seconds_decoded == pytest.approx(10, abs=0.1)


def test_a_flac_of_unknown_length_is_decoded(tmp_path: Path) -> None:
    flac = bytearray(good("FLAC"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    decoded = decode(written(tmp_path, bytes(flac)))
    assert (len(decoded.y), decoded.coverage) == (FRAMES, 1)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_recorded_from_a_running_stream_is_complete(subtype: str, tmp_path: Path) -> None:
    sr = 48000
    path = written(tmp_path, recorded(encoded(tone(3 * sr, sr), sr, "OGG", subtype=subtype), 3600 * sr))
    decoded = decode(path)
    assert decoded.coverage == 1
    assert decoded.seconds_decoded == pytest.approx(3, abs=0.02)
    np.testing.assert_array_equal(decoded.y, librosa.load(path, sr=SR)[0])


def test_an_ogg_with_damaged_last_pages_is_truncated(tmp_path: Path) -> None:
    ogg = bytearray(good("OGG"))
    ogg[-100] ^= 1
    path = written(tmp_path, bytes(ogg))
    assert soundfile.info(path).frames < FRAMES
    assert reason(path) is AudioReason.TRUNCATED


@pytest.mark.parametrize("bits", [1, 3, 30])
def test_a_damaged_flac_is_never_decoded_partially(bits: int, tmp_path: Path) -> None:
    whole = decode(written(tmp_path, good("FLAC"))).y
    refused = 0
    for seed in range(15):
        try:
            decoded = decode(written(tmp_path, flipped(good("FLAC"), bits, seed)))
        except AudioRejected:
            refused += 1
        else:
            np.testing.assert_array_equal(decoded.y, whole)  # all inverted bits are in padding
    assert refused > 5


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_every_damaged_header_gives_a_reason(container: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(good(container))
        for at in rng.integers(0, 120, 4):
            damaged[at] = int(rng.integers(256))
        try:
            decoded = decode(written(tmp_path, bytes(damaged)))
        except AudioRejected:
            continue
        assert np.isfinite(decoded.y).all()
        assert 0.9 <= decoded.coverage <= 1


@pytest.mark.parametrize(
    ("budget", "settings"),
    [
        (Budget(object_bytes=1000), SETTINGS),
        (Budget(min_sr=30_000), SETTINGS),
        (Budget(max_sr=20_000), SETTINGS),
        (Budget(channels=0), SETTINGS),
        (Budget(decoded_bytes=4 * FRAMES - 1), SETTINGS),
        (Budget(), DecodeSettings(sr=500, seconds=3)),
    ],
    ids=str,
)
def test_headers_above_the_budget_are_rejected(
    budget: Budget, settings: DecodeSettings, tmp_path: Path
) -> None:
    assert reason(written(tmp_path, good("WAV")), settings, budget) is AudioReason.HEADER_OVER_BUDGET


def test_the_budget_only_counts_the_requested_part(tmp_path: Path) -> None:
    budget = Budget(decoded_bytes=4 * FRAMES - 1)
    assert decode(written(tmp_path, good("WAV")), DecodeSettings(sr=SR, seconds=2), budget).coverage == 1


def test_levels_just_above_and_below_silence(tmp_path: Path) -> None:
    quiet = tone() / np.abs(tone()).max() + 0.5
    quiet = (quiet - quiet.mean()).astype(np.float32)
    quiet /= np.abs(quiet).max()
    for level, refused in ((1.01 * MIN_PEAK, False), (0.99 * MIN_PEAK, True)):
        path = written(tmp_path, encoded(quiet * np.float32(level), subtype="FLOAT"))
        if refused:
            assert reason(path) is AudioReason.SILENT
        else:
            assert decode(path).coverage == 1


def test_the_shortest_signal_is_accepted(tmp_path: Path) -> None:
    assert len(decode(written(tmp_path, encoded(tone(2 * 2048 - 1, 2 * SR), 2 * SR))).y) == 2048
    assert reason(written(tmp_path, encoded(tone(2 * 2047, 2 * SR), 2 * SR))) is AudioReason.TOO_SHORT


def test_the_signal_is_written_to_the_given_buffer(tmp_path: Path) -> None:
    out = np.full(capacity(SETTINGS, Budget()), 9, np.float32)
    fd = os.open(written(tmp_path, encoded(tone(2 * FRAMES, 2 * SR), 2 * SR)), os.O_RDONLY)
    decoded = decoding.decode(fd, SETTINGS, out=out)
    again = decoding.decode(fd, SETTINGS)
    os.close(fd)
    assert decoded.y.base is out
    np.testing.assert_array_equal(decoded.y, again.y)
    assert (out[FRAMES:] == 9).all()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (wav(bytes(400), sr=8000, channels=2), (Codec.WAV, 8000, 2, 100)),
        (wav(bytes(400), declared=4000), (Codec.WAV, SR, 1, 2000)),
        (wav(bytes(400), declared=0x7FFFF000), (Codec.WAV, SR, 1, 200)),
        (long_flac(0.1), (Codec.FLAC, 44100, 2, 242 * 65535)),
        (good("OGG"), (Codec.VORBIS, SR, 1, FRAMES)),
        (good("MP3"), (Codec.MP3, SR, 1, FRAMES)),
    ],
    ids=["wav", "cut", "placeholder", "flac", "ogg", "mp3"],
)
def test_headers_are_read(data: bytes, expected: tuple[object, ...], tmp_path: Path) -> None:
    (segment,) = segments(written(tmp_path, data))
    assert (segment.codec, segment.sr, segment.channels, segment.frames) == expected


def test_the_frames_of_an_mp3_are_counted(tmp_path: Path) -> None:
    mp3 = without_xing(constant_rate_mp3())
    for data in (mp3, mp3 + b"TAG" + bytes(125)):
        (segment,) = segments(written(tmp_path, data))
        assert segment.frames is not None
        assert FRAMES <= segment.frames <= FRAMES + 4 * 576


@pytest.mark.parametrize(("sr", "seconds"), [(0, 30), (SR, 0), (SR, float("inf")), (SR, float("nan"))])
def test_invalid_settings_are_an_error(sr: int, seconds: float) -> None:
    with pytest.raises(UsageError, match="expected positive"):
        DecodeSettings(sr=sr, seconds=seconds)


def test_real_clips_are_complete() -> None:
    for path in sorted(real_data("audio/fma-clips").glob("*.mp3"))[:3]:
        decoded = decode(path)
        assert decoded.coverage == 1
        np.testing.assert_array_equal(decoded.y, librosa.load(path, sr=SR, duration=30)[0])
