"""Groups of tests, which pytest-xdist passes over without a word where it does not find them in time."""

import os

import pytest


def test_a_worker_knows_the_group_of_a_test(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith("@tests/pure/test_groups.py")
