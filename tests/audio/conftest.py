"""What tests of audio share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled(librosa_compiled: None) -> None:
    """They compare with librosa."""
