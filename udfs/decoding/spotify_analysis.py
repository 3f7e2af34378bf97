"""Spotify's audio analysis of a track, JSON as its web interface gave it, as the steps of `segments`.

It runs where a hostile file does no harm: in the child of `sandbox`, whose memory is limited.
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
"""The longest that is read: a track of 9,000 segments takes 5 MB."""
COEFFICIENTS = 12
"""Of timbre, and as many pitch classes."""
_HEAD_BYTES = 256
_BLANK = b"\xef\xbb\xbf \t\r\n"

Steps = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """What to read of each analysis."""

    segments: int
    """The first so many."""


@dataclass(frozen=True)
class Analysis:
    """The steps of an analysis, flat, and the end of the last one."""

    steps: Steps
    seconds: float


def is_analysis(fd: int) -> bool:
    """Whether a file begins as a JSON object does, which no audio file can."""
    return os.pread(fd, _HEAD_BYTES, 0).lstrip(_BLANK).startswith(b"{")


def capacity(settings: AnalysisSettings) -> int:
    """Values of the longest answer."""
    return 2 * COEFFICIENTS * settings.segments


def read(fd: int, settings: AnalysisSettings, out: Steps) -> Analysis:
    """Timbre, then pitches, of each of the first segments; written to `out`, which the answer is a view of.

    Raises
    ------
    AudioRejected
        `header_over_budget`, `decode_failed` where it is not what it should be, `too_short` where it has no
        segments, `non_finite`.
    """
    size = os.fstat(fd).st_size
    if size > ANALYSIS_BYTES:
        detail = f"{size:,} bytes of JSON, at most {ANALYSIS_BYTES:,} are read"
        raise AudioRejected(AudioReason.HEADER_OVER_BUDGET, detail)
    try:
        document = json.loads(_whole(fd, size))
    except (ValueError, RecursionError) as err:
        raise AudioRejected(AudioReason.DECODE_FAILED, f"no JSON: {err}") from err
    segments = document.get("segments") if isinstance(document, dict) else None
    if not isinstance(segments, list):
        raise AudioRejected(AudioReason.DECODE_FAILED, "JSON without a list of `segments`")
    if not segments:
        raise AudioRejected(AudioReason.TOO_SHORT, "no segments")
    taken = segments[: settings.segments]
    rows = [
        [value for name in ("timbre", "pitches") for value in _numbers(segment, at, name)]
        for at, segment in enumerate(taken)
    ]
    steps = out[: 2 * COEFFICIENTS * len(rows)]
    with np.errstate(over="ignore"):
        steps[:] = np.ravel(rows)
    seconds = _number(taken[-1], len(rows) - 1, "start") + _number(taken[-1], len(rows) - 1, "duration")
    if not (np.isfinite(steps).all() and 0 < seconds < math.inf):
        raise AudioRejected(AudioReason.NON_FINITE, "a coefficient or the end is not a finite number")
    return Analysis(steps, seconds)


def _whole(fd: int, size: int) -> bytes:
    parts, at = [], 0
    while at < size and (part := os.pread(fd, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _numbers(segment: object, at: int, name: str) -> list[float]:
    """The twelve numbers of a segment's field."""
    found = segment.get(name) if isinstance(segment, dict) else None
    if not isinstance(found, list) or len(found) != COEFFICIENTS or not all(map(_is_number, found)):
        raise AudioRejected(
            AudioReason.DECODE_FAILED, f"segment {at}: `{name}` is no list of {COEFFICIENTS} numbers"
        )
    return [_as_float(value) for value in found]


def _number(segment: object, at: int, name: str) -> float:
    found = segment.get(name) if isinstance(segment, dict) else None
    if not _is_number(found):
        raise AudioRejected(AudioReason.DECODE_FAILED, f"segment {at}: `{name}` is no number")
    return _as_float(found)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_float(value: float) -> float:
    """A number as a float; an integer beyond all floats as infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
