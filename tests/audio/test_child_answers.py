"""A decoder child that a file has taken over cannot give the reasons of the storage or of its parent."""

import json
import mmap

import pytest

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding import child_process
from genremill.udfs.decoding.child_process import Crash

OF_OTHERS = ("denied", "missing", "changed", "path_refused", "decode_crashed", "decode_timeout")


def _answer(reason: object) -> object:
    with mmap.mmap(-1, 4) as memory:
        return child_process._decoded(json.dumps({"reason": reason, "detail": ""}).encode(), memory)


@pytest.mark.parametrize("reason", [*OF_OTHERS, "none", None, []])
def test_a_reason_that_no_decoder_gives_is_a_crash(reason: object) -> None:
    with pytest.raises(Crash, match="invalid answer"):
        _answer(reason)


@pytest.mark.parametrize("reason", [reason for reason in AudioReason if reason not in OF_OTHERS])
def test_a_reason_of_a_decoder_is_a_reject(reason: AudioReason) -> None:
    with pytest.raises(AudioRejected) as caught:
        _answer(reason)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x" * 301},
        {"title": 5},
        {"artists": ["a"] * 21},
        {"genres": [None]},
        {"year": 3000},
        {"year": "1999"},
        {"isrc": "../../etc"},
        {"musicbrainz_id": "x"},
        {"duration_s": -1.0},
        {"duration_s": "x"},
        {"duration_s": 10**400},
        {"duration_s": 2.0**60},
        {"duration_s": 5},
        {"title": "\ud800"},
        {"other": 1},
        [],
        "text",
    ],
)
def test_metadata_that_no_file_gives_are_a_crash(fields: object) -> None:
    with pytest.raises(Crash, match="invalid answer"):
        child_process._metadata(json.dumps({"metadata": fields}).encode())
