"""Reads Spotify's audio analysis of a track, JSON from its web API, as the steps of `segments`.

It runs in the child process of `sandbox`, where a malicious file does no harm and memory is limited.
"""

import json
import math
import os

import numpy as np

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.settings import Decoded, Signal

ANALYSIS_BYTES = 16 * 2**20
"""Longest analysis; a track with 9,000 segments has 5 MB."""
COEFFICIENTS = 12
"""Number of timbre coefficients, and of pitch classes."""


def is_analysis(fd: int) -> bool:
    """Whether a file begins like a JSON object; audio files never do."""
    return os.pread(fd, 256, 0).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def read(fd: int, segments: int, out: Signal) -> Decoded:
    """Timbre, then pitches, of the first segments, flat, as a view of `out`.

    `seconds_decoded` is the end of the last segment. Raises `AudioRejected` with `header_over_budget`, with
    `decode_failed` if the JSON is invalid, with `too_short` if there are no segments, or with `non_finite`.
    """
    if (size := os.fstat(fd).st_size) > ANALYSIS_BYTES:
        detail = f"{size:,} bytes of JSON, expected at most {ANALYSIS_BYTES:,}"
        raise AudioRejected(AudioReason.HEADER_OVER_BUDGET, detail)
    found = _segments(fd, size)[:segments]
    rows = [
        [value for name in ("timbre", "pitches") for value in _numbers(segment, index, name)]
        for index, segment in enumerate(found)
    ]
    steps = out[: 2 * COEFFICIENTS * len(rows)]
    with np.errstate(over="ignore"):
        steps[:] = np.ravel(rows)
    end = sum(_number(found[-1], len(found) - 1, name) for name in ("start", "duration"))
    if not (np.isfinite(steps).all() and 0 < end < math.inf):
        raise AudioRejected(AudioReason.NON_FINITE, "a coefficient or the end is not a finite number")
    return Decoded(steps, coverage=1.0, seconds_decoded=end)


def _segments(fd: int, size: int) -> list[object]:
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        with open(fd, "rb", closefd=False) as source:
            document = json.loads(source.read(size), parse_int=float)
    except (ValueError, RecursionError) as err:
        raise AudioRejected(AudioReason.DECODE_FAILED, f"invalid JSON: {err}") from err
    segments = document.get("segments") if isinstance(document, dict) else None
    if not isinstance(segments, list):
        raise AudioRejected(AudioReason.DECODE_FAILED, "JSON without a list of `segments`")
    if not segments:
        raise AudioRejected(AudioReason.TOO_SHORT, "no segments")
    return segments


def _numbers(segment: object, index: int, name: str) -> list[float]:
    """The twelve numbers of a field of a segment."""
    value = segment.get(name) if isinstance(segment, dict) else None
    numbers = value if isinstance(value, list) else []
    if len(numbers) != COEFFICIENTS or not all(isinstance(number, float) for number in numbers):
        detail = f"segment {index}: `{name}` is not a list of {COEFFICIENTS} numbers"
        raise AudioRejected(AudioReason.DECODE_FAILED, detail)
    return numbers


def _number(segment: object, index: int, name: str) -> float:
    value = segment.get(name) if isinstance(segment, dict) else None
    if not isinstance(value, float):
        raise AudioRejected(AudioReason.DECODE_FAILED, f"segment {index}: `{name}` is not a number")
    return value
