"""pytest-xdist knows the groups of tests; it ignores groups that are set too late without a warning."""

import os

import pytest


def test_a_worker_knows_the_group_of_a_test(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith("@tests/pure/test_groups.py")
