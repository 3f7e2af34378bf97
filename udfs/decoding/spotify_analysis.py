"""Reads Spotify's audio analysis of a track, JSON from its web API, as the steps of `segments`.

It runs in the child process of `sandbox`, where a malicious file does no harm and memory is limited.
"""

import json
import math
import os
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from genremill.infra.audio.faults import AudioReason, AudioRejected

ANALYSIS_BYTES = 16 * 2**20
"""Longest analysis; a track with 9,000 segments has 5 MB."""
COEFFICIENTS = 12
"""Number of timbre coefficients, and of pitch classes."""
_HEAD_BYTES = 256
_BLANK = b"\xef\xbb\xbf \t\r\n"

Steps = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """What to read of each analysis."""

    segments: int
    """Number of segments from the start of the track."""


@dataclass(frozen=True)
class Analysis:
    """The steps of an analysis, flat, and the end of the last step."""

    steps: Steps
    seconds: float


def is_analysis(fd: int) -> bool:
    """Whether a file begins like a JSON object; audio files never do."""
    return os.pread(fd, _HEAD_BYTES, 0).lstrip(_BLANK).startswith(b"{")


def capacity(settings: AnalysisSettings) -> int:
    """Most values that `read` can return."""
    return 2 * COEFFICIENTS * settings.segments


def read(fd: int, settings: AnalysisSettings, out: Steps) -> Analysis:
    """Timbre, then pitches, of each of the first segments; the result is a view of `out`.

    Raises
    ------
    AudioRejected
        With `header_over_budget`, with `decode_failed` if the JSON is invalid, with `too_short` if there are
        no segments, or with `non_finite`.
    """
    size = os.fstat(fd).st_size
    if size > ANALYSIS_BYTES:
        detail = f"{size:,} bytes of JSON, expected at most {ANALYSIS_BYTES:,}"
        raise AudioRejected(AudioReason.HEADER_OVER_BUDGET, detail)
    try:
        document = json.loads(_whole(fd, size))
    except (ValueError, RecursionError) as err:
        raise AudioRejected(AudioReason.DECODE_FAILED, f"invalid JSON: {err}") from err
    segments = document.get("segments") if isinstance(document, dict) else None
    if not isinstance(segments, list):
        raise AudioRejected(AudioReason.DECODE_FAILED, "JSON without a list of `segments`")
    if not segments:
        raise AudioRejected(AudioReason.TOO_SHORT, "no segments")
    segments = segments[: settings.segments]
    rows = [
        [value for name in ("timbre", "pitches") for value in _numbers(segment, index, name)]
        for index, segment in enumerate(segments)
    ]
    steps = out[: 2 * COEFFICIENTS * len(rows)]
    with np.errstate(over="ignore"):
        steps[:] = np.ravel(rows)
    last = len(segments) - 1
    seconds = _number(segments[last], last, "start") + _number(segments[last], last, "duration")
    if not (np.isfinite(steps).all() and 0 < seconds < math.inf):
        raise AudioRejected(AudioReason.NON_FINITE, "a coefficient or the end is not a finite number")
    return Analysis(steps, seconds)


def _whole(fd: int, size: int) -> bytes:
    parts, count = [], 0
    while count < size and (part := os.pread(fd, size - count, count)):
        parts.append(part)
        count += len(part)
    return b"".join(parts)


def _numbers(segment: object, index: int, name: str) -> list[float]:
    """The twelve numbers of a field of a segment."""
    value = segment.get(name) if isinstance(segment, dict) else None
    if not isinstance(value, list) or len(value) != COEFFICIENTS or not all(map(_is_number, value)):
        raise AudioRejected(
            AudioReason.DECODE_FAILED, f"segment {index}: `{name}` is not a list of {COEFFICIENTS} numbers"
        )
    return [_as_float(number) for number in value]


def _number(segment: object, index: int, name: str) -> float:
    value = segment.get(name) if isinstance(segment, dict) else None
    if not _is_number(value):
        raise AudioRejected(AudioReason.DECODE_FAILED, f"segment {index}: `{name}` is not a number")
    return _as_float(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_float(value: float) -> float:
    """A number as a float; infinity for an integer larger than all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
