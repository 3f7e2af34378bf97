"""The inputs on which a reader failed once are read or rejected now."""

from pathlib import Path

import pytest

from tests.fuzz import harness
from tests.fuzz.harness import FOUND
from tests.fuzz.test_targets import TARGETS

BY_NAME = {target.name: target for target in TARGETS}


@pytest.mark.parametrize(
    "path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_an_input_that_failed_once_is_read_or_rejected(path: Path) -> None:
    harness.outcome(BY_NAME[path.parent.name], path.read_bytes())
