"""Denied audio ends a job only if it is most of the audio of the catalog, not of what a quiet night tries."""

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from genremill.infra.audio.faults import AudioReason
from genremill.infra.errors import StorageError
from genremill.infra.progress_lines import DONE
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.features.set_extraction import SetExtraction

NONE: Any = None


@pytest.mark.parametrize(
    ("objects", "to_decode", "denied", "done", "fails"),
    [
        pytest.param(100, 100, 1, 99, None, id="the first night"),
        pytest.param(100, 1, 1, 0, None, id="the second night tries the denied object again"),
        pytest.param(100, 50, 50, 0, None, id="half of the catalog"),
        pytest.param(100, 51, 51, 0, "51 of 100", id="most of the catalog"),
        pytest.param(100, 100, 10, 0, "10 of 10", id="all of the first batch"),
        pytest.param(1, 1, 1, 0, "1 of 1", id="the only object"),
    ],
)
def test_the_objects_that_need_no_decoding_count(
    tmp_path: Path, objects: int, to_decode: int, denied: int, done: int, fails: str | None
) -> None:
    work = command.Run(Warehouse.at(str(tmp_path)), "r1")
    filled = SetExtraction(NONE, work, "f", NONE, NONE, objects, NONE, objects)
    expected = pytest.raises(StorageError, match=f"access denied to {fails} audio objects: reading needs")
    with expected if fails else contextlib.nullcontext():
        filled._check_allowed(Counter({AudioReason.DENIED: denied, DONE: done}), to_decode)
