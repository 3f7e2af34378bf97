"""Prints a table of what the targets did at the end of a run."""

from _pytest.terminal import TerminalReporter

from tests.fuzz.harness import HEADER, PROPERTY


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed")
    lines = [str(text) for report in reports for name, text in report.user_properties if name == PROPERTY]
    if lines:
        terminalreporter.write_line("\n".join([HEADER, *lines]))
