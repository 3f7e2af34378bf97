"""Every reader of files and texts from elsewhere, on generated inputs.

A bounded run reads the same inputs each time. With `GENREMILL_FUZZ_MINUTES`, the run takes as long, and its
inputs are new.
"""

import os
import secrets
from collections.abc import Callable

import pytest

from tests.fuzz import audio, harness, ingest_runs, json_records, settings, tables
from tests.fuzz.harness import PROPERTY, Target

BOUND_S = 180.0
"""The longest time of a bounded run of all targets together, without the start of Spark."""
MINUTES = float(os.environ.get("GENREMILL_FUZZ_MINUTES", "0"))
TARGETS = [
    *audio.targets(),
    *tables.targets(),
    *json_records.targets(),
    *settings.targets(),
    *ingest_runs.targets(),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_input_is_read_or_rejected(
    target: Target, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    if target.name == "ingest":
        request.getfixturevalue("spark")
    seconds = (60 * MINUTES or BOUND_S) * target.share / sum(each.share for each in TARGETS)
    report = harness.run(target, seconds, secrets.randbits(32) if MINUTES else None)
    record_property(PROPERTY, str(report))
