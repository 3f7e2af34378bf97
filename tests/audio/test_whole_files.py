"""Every part of a file is decoded, or the file is rejected."""

import os
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding import libsndfile
from genremill.udfs.decoding.decode import decode
from genremill.udfs.decoding.settings import Decoded, DecodeSettings, Offset, Signal
from tests.audio.audio_faults_corpus import wav
from tests.audio.whole_files_corpus import (
    HIGH,
    HIGH_4,
    JUNK,
    LOW,
    LOW_3,
    STEREO_4,
    WHOLE,
    Whole,
    chunk,
    constant,
    id3v1,
    made,
    with_data_size,
    xing,
)
from tests.conftest import real_data

SR = 22050
JOIN_S = 0.1
"""Codecs add silence and an echo at both ends of a part."""


def decoded(data: bytes, folder: Path, seconds: float = 30, offset: Offset = Offset.START) -> Decoded:
    path = folder / "audio"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        return decode(fd, DecodeSettings(sr=SR, seconds=seconds, offset=offset))
    finally:
        os.close(fd)


def pitch(y: Signal) -> float:
    """The strongest frequency in Hz."""
    return float(np.abs(np.fft.rfft(y)).argmax() * SR / len(y))


def test_a_library_may_close_the_file_that_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closing(libsndfile._Sequential):
        def __init__(self, file: object) -> None:
            if isinstance(file, int):
                os.close(file)
                raise soundfile.LibsndfileError(1)
            super().__init__(file)

    expected = decoded(HIGH_4, tmp_path)
    monkeypatch.setattr(libsndfile, "_Sequential", Closing)
    found = decoded(HIGH_4, tmp_path)
    assert found.seconds_decoded == pytest.approx(expected.seconds_decoded, abs=JOIN_S)


@pytest.mark.parametrize("whole", WHOLE, ids=lambda whole: str(whole.name))
def test_all_of_the_file_is_decoded_in_its_order(whole: Whole, tmp_path: Path) -> None:
    found = decoded(whole.make(), tmp_path)
    seconds = sum(length for length, _ in whole.parts)
    assert found.seconds_decoded == pytest.approx(seconds, abs=JOIN_S * len(whole.parts))
    assert len(found.y) == pytest.approx(found.seconds_decoded * SR, abs=len(whole.parts) + 1)
    assert found.coverage == pytest.approx(1, abs=0.015)
    start = 0.0
    for length, expected in whole.parts:
        part = found.y[int((start + 2 * JOIN_S) * SR) : int((start + length - 2 * JOIN_S) * SR)]
        assert pitch(part) == pytest.approx(expected, rel=0.01)
        start += length


def nth_page(ogg: bytes, number: int) -> int:
    """Where a page begins; the first one has the number 0."""
    return sum(len(page) + 4 for page in ogg.split(b"OggS")[1 : number + 1])


OPUS_4 = made("OGG", 4, HIGH, 48000, subtype="OPUS")
TRUNCATED: dict[str, Callable[[], bytes]] = {
    "joined, second part cut": lambda: LOW_3 + HIGH_4[: len(HIGH_4) // 3],
    "joined, first part cut": lambda: LOW_3[: len(LOW_3) // 2] + STEREO_4,
    "joined with junk between": lambda: LOW_3 + JUNK + constant(4, HIGH),
    "constant rate, junk at the end": lambda: constant(4, HIGH) + JUNK,
    "constant rate, zeros at the end": lambda: constant(4, HIGH) + bytes(40_000),
    "constant rate, zeros inside": lambda: constant(2, HIGH) + bytes(20_000) + constant(2, HIGH),
    "Xing count and bytes of a longer file": lambda: xing(HIGH_4, 300, 10 * len(HIGH_4)),
    "joined.opus, second part cut": lambda: OPUS_4 + OPUS_4[: nth_page(OPUS_4, 4) + 500],
    "joined.ogg, second beginning damaged": lambda: made("OGG", 3, LOW) + made("OGG", 4, HIGH)[4000:],
    "joined.wav, second part cut": lambda: made("WAV", 3, LOW) + made("WAV", 4, HIGH)[:90_000],
    "wav, size too small": lambda: with_data_size(made("WAV", 4, HIGH), 88_200),
    "joined.aiff, second part cut": lambda: made("AIFF", 3, LOW) + made("AIFF", 4, HIGH)[:90_000],
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_file_of_which_much_is_missing_is_truncated(name: str, tmp_path: Path) -> None:
    with pytest.raises(AudioRejected) as caught:
        decoded(TRUNCATED[name](), tmp_path)
    assert caught.value.reason is AudioReason.TRUNCATED


def test_coverage_counts_what_is_missing_inside_and_at_the_end(tmp_path: Path) -> None:
    hole = constant(3, LOW) + bytes(len(constant(1, LOW)) // 2) + constant(4, HIGH)
    assert decoded(hole, tmp_path).coverage == pytest.approx(7 / 7.5, abs=0.01)
    cut = made("OGG", 4, HIGH)
    last_page = cut.rindex(b"OggS")
    assert decoded(cut[:last_page], tmp_path).coverage == 1  # nothing says that a page is missing
    wav_cut = LOW_3 + HIGH_4[: len(HIGH_4) * 9 // 10]
    assert decoded(wav_cut, tmp_path).coverage == pytest.approx(6.6 / 7, abs=0.02)


def test_only_the_requested_seconds_of_joined_files_are_decoded(tmp_path: Path) -> None:
    for joined in (LOW_3 + HIGH_4, made("OGG", 3, LOW) + made("OGG", 4, HIGH), made("FLAC", 3, LOW) * 3):
        found = decoded(joined, tmp_path, seconds=4)
        assert found.seconds_decoded == pytest.approx(4, abs=1e-3)
        assert len(found.y) == pytest.approx(4 * SR, abs=2)
        assert found.coverage == 1


@pytest.mark.parametrize("container", ["MP3", "OGG", "FLAC", "WAV", "AIFF"])
def test_the_middle_of_joined_files_is_the_middle_of_all_of_them(container: str, tmp_path: Path) -> None:
    joined = made(container, 3, LOW) + made(container, 4, HIGH, 22050, 2)
    found = decoded(joined, tmp_path, seconds=3, offset=Offset.MIDDLE)  # from 2 s to 5 s
    assert found.seconds_decoded == pytest.approx(3, abs=0.01)
    assert pitch(found.y[: int(0.9 * SR)]) == pytest.approx(LOW, rel=0.01)
    assert pitch(found.y[int(1.1 * SR) :]) == pytest.approx(HIGH, rel=0.01)
    late = decoded(made(container, 3, LOW) + made(container, 8, HIGH), tmp_path, 2, Offset.MIDDLE)
    assert pitch(late.y) == pytest.approx(HIGH, rel=0.01)


def test_a_hundred_joined_files_are_decoded(tmp_path: Path) -> None:
    found = decoded(made("MP3", 0.3, LOW) * 100, tmp_path)
    assert found.seconds_decoded == pytest.approx(30, abs=0.1)
    assert len(found.y) <= 30 * SR + 1


@pytest.mark.parametrize("size", [0, 44, 4000])
def test_a_wav_without_samples_is_too_short(size: int, tmp_path: Path) -> None:
    empty = wav() + (chunk(b"LIST", b"INFOISFT" + bytes(size)) if size else b"")
    with pytest.raises(AudioRejected) as caught:
        decoded(empty, tmp_path)
    assert caught.value.reason is AudioReason.TOO_SHORT


@pytest.mark.parametrize("name", ["text", "noise", "picture behind an ID3 tag", "zeros", "0xff"])
def test_what_no_decoder_opens_is_not_audio(name: str, tmp_path: Path) -> None:
    data = {
        "text": b"<html>" + b"Not Found " * 4000,
        "noise": np.random.default_rng(2).bytes(3_000_000),
        "picture behind an ID3 tag": b"ID3\x03\0\0\0\0\1\0" + bytes(128) + JUNK,
        "zeros": bytes(100_000),
        "0xff": b"\xff\xfb" * 500_000,
    }[name]
    with pytest.raises(AudioRejected) as caught:
        decoded(data, tmp_path)
    assert caught.value.reason is AudioReason.NOT_AUDIO


@pytest.mark.parametrize("container", ["MP3", "WAV"])
def test_a_tag_at_the_end_does_not_change_the_signal(container: str, tmp_path: Path) -> None:
    plain = decoded(made(container, 4, HIGH), tmp_path)
    tagged = decoded(made(container, 4, HIGH) + id3v1(), tmp_path)
    np.testing.assert_array_equal(tagged.y, plain.y)
    assert plain.coverage == 1
    assert tagged.coverage == pytest.approx(1, abs=1e-3)


CASES = {
    "ref.mp3": 30.0,
    "a01-id3-then-1044-zeros.mp3": 30.0,
    "a02-id3-then-4-junk.mp3": 30.0,
    "a03-cut-start.mp3": 29.9,
    "a04-cat.mp3": 30.0,
    "a07-chained.opus": 30.0,
    "a19-mono-then-stereo.mp3": 30.0,
}


@pytest.mark.parametrize("name", CASES)
def test_files_that_people_have_are_decoded_as_a_whole(name: str, tmp_path: Path) -> None:
    found = decoded(real_data(f"cases/audio/{name}").read_bytes(), tmp_path)
    assert found.seconds_decoded == pytest.approx(CASES[name], abs=0.05)
    assert found.coverage == pytest.approx(1, abs=1e-3)


def test_the_second_part_of_a_joined_file_is_its_original(tmp_path: Path) -> None:
    alone = decoded(STEREO_4, tmp_path).y
    joined = decoded(LOW_3 + STEREO_4, tmp_path).y
    np.testing.assert_array_equal(joined[-len(alone) :], alone)
    path = tmp_path / "alone.mp3"
    path.write_bytes(STEREO_4)
    np.testing.assert_array_equal(alone, librosa.load(path, sr=SR)[0])
