"""Formats that libsndfile lacks: rejected with a hint, and decoded in the sandbox with --ffmpeg."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError
from genremill.jobs.features.extraction_settings import Config, check
from genremill.udfs.decoding import formats
from genremill.udfs.decoding.child_process import DecodingLimits
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, Offset
from tests.audio.audio_faults_corpus import good
from tests.audio.ffmpeg_corpus import ENCODINGS, Encoding, made
from tests.audio.test_whole_files import pitch
from tests.audio.whole_files_corpus import HIGH, LOW, id3_of

SR = 22050
AAC, ALAC, WMA, ADTS, WEBM = (ENCODINGS[number] for number in (0, 2, 3, 4, 6))
MEMORY = DecodingLimits(memory_bytes=192 * 2**20)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with less memory than by default."""
    with Sandbox(MEMORY) as made:
        yield made


def decoded(
    sandbox: Sandbox, data: bytes, folder: Path, seconds: float = 30, offset: Offset = Offset.START
) -> Decoded:
    (folder / "audio").write_bytes(data)
    fd = os.open(folder / "audio", os.O_RDONLY)
    try:
        settings = DecodeSettings(sr=SR, seconds=seconds, offset=offset, ffmpeg=True)
        return sandbox.decode(fd, settings)
    finally:
        os.close(fd)


def rejected(sandbox: Sandbox, data: bytes, folder: Path, *, with_ffmpeg: bool = True) -> AudioRejected:
    (folder / "audio").write_bytes(data)
    fd = os.open(folder / "audio", os.O_RDONLY)
    try:
        with pytest.raises(AudioRejected) as caught:
            sandbox.decode(fd, DecodeSettings(sr=SR, seconds=30, ffmpeg=with_ffmpeg))
        return caught.value
    finally:
        os.close(fd)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_without_ffmpeg_the_reason_names_the_format_and_the_extra(
    encoding: Encoding, sandbox: Sandbox, tmp_path: Path
) -> None:
    found = rejected(sandbox, made(encoding, 3, LOW), tmp_path, with_ffmpeg=False)
    assert found.reason is AudioReason.CODEC_REFUSED
    assert found.detail.startswith(encoding.message)
    assert "--ffmpeg" in found.detail
    assert "genremill[ffmpeg]" in found.detail


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("channels", [1, 2])
def test_with_ffmpeg_the_whole_file_is_decoded(
    encoding: Encoding, channels: int, sandbox: Sandbox, tmp_path: Path
) -> None:
    found = decoded(sandbox, made(encoding, 4, HIGH, channels), tmp_path)
    assert found.coverage == pytest.approx(1, abs=0.015)
    assert found.seconds_decoded == pytest.approx(4, abs=0.05)
    assert len(found.y) == pytest.approx(found.seconds_decoded * SR, abs=1)
    assert pitch(found.y) == pytest.approx(HIGH, rel=0.01)
    assert np.abs(found.y).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_the_requested_seconds_are_decoded(encoding: Encoding, sandbox: Sandbox, tmp_path: Path) -> None:
    for offset in Offset:
        found = decoded(sandbox, made(encoding, 4, HIGH), tmp_path, 1.5, offset)
        assert found.seconds_decoded == pytest.approx(1.5, abs=1e-3)
        assert found.coverage == 1


def test_the_middle_of_an_m4a_is_its_middle(sandbox: Sandbox, tmp_path: Path) -> None:
    for encoding in (AAC, ALAC):
        start = decoded(sandbox, made(encoding, 4, HIGH), tmp_path).y
        middle = decoded(sandbox, made(encoding, 4, HIGH), tmp_path, 1, Offset.MIDDLE).y
        expected = start[int(1.5 * SR) : int(2.5 * SR)]
        assert np.abs(middle[500:-500] - expected[500:-500]).max() < 0.01


@pytest.mark.parametrize("encoding", [AAC, ALAC, WMA, ADTS, WEBM, ENCODINGS[7]], ids=str)
def test_all_of_joined_files_is_decoded(encoding: Encoding, sandbox: Sandbox, tmp_path: Path) -> None:
    found = decoded(sandbox, made(encoding, 3, LOW) + made(encoding, 4, HIGH, 2), tmp_path)
    assert found.seconds_decoded == pytest.approx(7, abs=0.1)
    assert found.coverage == pytest.approx(1, abs=0.015)
    assert pitch(found.y[: int(2.8 * SR)]) == pytest.approx(LOW, rel=0.01)
    assert pitch(found.y[int(3.2 * SR) :]) == pytest.approx(HIGH, rel=0.01)


@pytest.mark.parametrize("encoding", [ENCODINGS[8], ENCODINGS[9]], ids=str)
def test_joined_files_of_which_only_the_first_is_decoded_are_truncated(
    encoding: Encoding, sandbox: Sandbox, tmp_path: Path
) -> None:
    found = rejected(sandbox, made(encoding, 3, LOW) + made(encoding, 4, HIGH, 2), tmp_path)
    assert found.reason is AudioReason.TRUNCATED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (made(AAC, 4, HIGH, faststart=True)[:30_000], AudioReason.TRUNCATED),
        (made(AAC, 4, HIGH)[:30_000], AudioReason.DECODE_FAILED),  # the index at the end is missing
        (made(WEBM, 4, HIGH)[:30_000], AudioReason.TRUNCATED),
        (made(WMA, 4, HIGH)[:200], AudioReason.DECODE_FAILED),
        (b"\0\0\0\x20ftypM4A " + bytes(500), AudioReason.DECODE_FAILED),
        (good("CAF")[:10], AudioReason.DECODE_FAILED),
        (b"MThd" + bytes(500), AudioReason.CODEC_REFUSED),
        (b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n", AudioReason.NOT_AUDIO),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", AudioReason.NOT_AUDIO),
        (bytes(5000), AudioReason.NOT_AUDIO),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_files_are_rejected(data: bytes, reason: AudioReason, sandbox: Sandbox, tmp_path: Path) -> None:
    assert rejected(sandbox, data, tmp_path).reason is reason


@pytest.mark.parametrize("encoding", [AAC, ALAC, WMA, ADTS, WEBM], ids=str)
def test_damaged_files_never_end_the_job(encoding: Encoding, sandbox: Sandbox, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for bits in (1, 10, 300):
        for _ in range(4):
            damaged = bytearray(made(encoding, 3, HIGH))
            for at in rng.integers(0, len(damaged), bits):
                damaged[at] ^= 1 << int(rng.integers(8))
            try:
                found = decoded(sandbox, bytes(damaged), tmp_path)
            except AudioRejected:
                continue
            assert 0.9 <= found.coverage <= 1
            assert np.isfinite(found.y).all()


def test_other_formats_do_not_change_with_ffmpeg(sandbox: Sandbox, tmp_path: Path) -> None:
    for container in ("WAV", "FLAC", "OGG", "MP3", "AIFF"):
        path = tmp_path / "audio"
        path.write_bytes(good(container))
        fd = os.open(path, os.O_RDONLY)
        plain = sandbox.decode(fd, DecodeSettings(sr=SR, seconds=30))
        os.close(fd)
        np.testing.assert_array_equal(decoded(sandbox, good(container), tmp_path).y, plain.y)


def test_an_id3_tag_before_aac_is_skipped(sandbox: Sandbox, tmp_path: Path) -> None:
    tagged = id3_of(bytes(5000)) + made(ADTS, 4, HIGH)
    assert decoded(sandbox, tagged, tmp_path).seconds_decoded == pytest.approx(4, abs=0.05)


def test_limits_of_memory_and_of_the_budget_hold(tmp_path: Path) -> None:
    with Sandbox(DecodingLimits(memory_bytes=0)) as small:
        assert rejected(small, made(AAC, 4, HIGH), tmp_path).reason is AudioReason.DECODE_CRASHED
    for budget in (Budget(max_sr=40_000), Budget(decoded_bytes=100_000), Budget(channels=0)):
        with Sandbox(MEMORY, budget) as strict:
            assert rejected(strict, made(AAC, 4, HIGH), tmp_path).reason is AudioReason.HEADER_OVER_BUDGET


def test_only_the_child_imports_pyav(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from genremill.udfs import extraction\n"
        "from genremill.udfs.decoding.sandbox import Sandbox\n"
        "from genremill.udfs.decoding.settings import DecodeSettings\n"
        "with Sandbox() as sandbox:\n"
        "    fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "    sandbox.decode(fd, DecodeSettings(sr=22050, seconds=3, ffmpeg=True))\n"
        "print('av' in sys.modules)\n"
    )
    (tmp_path / "a.m4a").write_bytes(made(AAC, 4, HIGH))
    command = [sys.executable, "-c", code, str(tmp_path / "a.m4a")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output == "False\n"


def test_a_missing_package_is_reported_before_the_job_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = Config(audio_root=("/data",), ffmpeg=True)
    check(cfg)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"genremill\[ffmpeg\]"):
        check(cfg)
    check(Config(audio_root=("/data",)))


def test_rejects_name_the_decoders() -> None:
    plain = DecodeSettings(sr=SR, seconds=30)
    assert plain.decoder != DecodeSettings(sr=SR, seconds=30, ffmpeg=True).decoder
    assert plain.decoder == DecodeSettings(sr=16000, seconds=3).decoder


def test_every_refused_format_with_a_demuxer_says_how_to_decode_it() -> None:
    names = {known.name: known.demuxer for known in (*formats.OTHERS, *formats.SHORT)}
    for name, demuxer in names.items():
        assert ("--ffmpeg" in formats.NotSupported(name, demuxer, 0).detail) is (demuxer is not None)
