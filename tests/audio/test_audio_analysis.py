"""Spotify's audio analyses: real ones are read unchanged, and invalid ones are rejected with a reason."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding import spotify_analysis
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Decoded, DecodeSettings
from genremill.udfs.decoding.spotify_analysis import ANALYSIS_BYTES
from tests.conftest import real_data

SEGMENT: dict[str, Any] = {
    "start": 0.5,
    "duration": 0.25,
    "timbre": [float(at) for at in range(12)],
    "pitches": [at / 11 for at in range(12)],
}
HOSTILE: dict[str, tuple[bytes, AudioReason]] = {
    "cut": (b'{"segments": [{"start": 0', AudioReason.DECODE_FAILED),
    "deep": (b'{"segments": ' + b"[" * 200_000, AudioReason.DECODE_FAILED),
    "no utf-8": (b'{"segments": "\xff\xfe"}', AudioReason.DECODE_FAILED),
    "many digits": (b'{"segments": ' + b"9" * 10_000 + b"}", AudioReason.DECODE_FAILED),
    "too long": (b"{" + b" " * ANALYSIS_BYTES, AudioReason.HEADER_OVER_BUDGET),
    "much memory": (b'{"segments": [' + b"[]," * 5_000_000 + b"[]]}", AudioReason.DECODE_CRASHED),
    "no segments": (b'{"segments": []}', AudioReason.TOO_SHORT),
    "another document": (b'{"tracks": [1]}', AudioReason.DECODE_FAILED),
}


def document(**overrides: object) -> bytes:
    return json.dumps({"segments": [SEGMENT, SEGMENT | overrides]}).encode()


SPOILED: dict[str, tuple[bytes, AudioReason]] = {
    "eleven": (document(timbre=[0.0] * 11), AudioReason.DECODE_FAILED),
    "text": (document(pitches=["0.1"] * 12), AudioReason.DECODE_FAILED),
    "truth": (document(pitches=[True] * 12), AudioReason.DECODE_FAILED),
    "nothing": (document(pitches=None), AudioReason.DECODE_FAILED),
    "no time": (document(start="now"), AudioReason.DECODE_FAILED),
    "nan": (document(timbre=[float("nan")] * 12), AudioReason.NON_FINITE),
    "beyond float32": (document(timbre=[1e300] * 12), AudioReason.NON_FINITE),
    "beyond all floats": (document(timbre=[10**400] * 12), AudioReason.NON_FINITE),
    "endless": (document(duration=float("inf")), AudioReason.NON_FINITE),
    "a list for a segment": (b'{"segments": [[1, 2]]}', AudioReason.DECODE_FAILED),
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as one:
        yield one


def analysis(sandbox: Sandbox, path: Path, segments: int = 512) -> Decoded:
    fd = os.open(path, os.O_RDONLY)
    try:
        assert spotify_analysis.is_analysis(fd)
        return sandbox.read_analysis(fd, segments)
    finally:
        os.close(fd)


@pytest.mark.parametrize(("name", "count"), [("jramcast", 428), ("weech", 911)])
def test_real_analyses_are_read_unchanged(sandbox: Sandbox, name: str, count: int) -> None:
    path = real_data(f"audio-analysis/{name}.json")
    segments = json.loads(path.read_text())["segments"]
    assert len(segments) == count
    found = analysis(sandbox, path)
    expected = [one["timbre"] + one["pitches"] for one in segments[:512]]
    assert np.array_equal(found.y.reshape(-1, 24), np.array(expected, np.float32))
    last = segments[:512][-1]
    assert found.seconds_decoded == pytest.approx(last["start"] + last["duration"])


def test_only_the_first_segments_are_read_and_checked(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf \n" + document(timbre=None))
    found = analysis(sandbox, tmp_path / "a.json", segments=1)
    assert found.y.tolist() == pytest.approx(SEGMENT["timbre"] + SEGMENT["pitches"])
    assert found.seconds_decoded == 0.75


@pytest.mark.parametrize("name", HOSTILE | SPOILED)
def test_an_invalid_analysis_is_rejected(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    data, reason = (HOSTILE | SPOILED)[name]
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(AudioRejected) as rejected:
        analysis(sandbox, tmp_path / "a.json")
    assert rejected.value.reason is reason
    # The failure does not affect the next analysis.
    (tmp_path / "good.json").write_bytes(document())
    assert analysis(sandbox, tmp_path / "good.json").y.shape == (48,)


def test_other_feature_sets_reject_an_analysis(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(document())
    with (tmp_path / "a.json").open("rb") as file, pytest.raises(AudioRejected) as rejected:
        sandbox.decode(file.fileno(), DecodeSettings(sr=22050, seconds=30.0))
    assert rejected.value.reason is AudioReason.NOT_AUDIO
