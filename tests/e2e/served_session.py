"""A process with one Spark session that runs jobs, one after the other.

Each line of its stdin is a JSON list [job, flag, …]; it writes the result of each job as one line of JSON.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

from tests.e2e.faulty_nights import RunResult, quick_session, run_here


class ServedSession:
    """A client of the process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, job: str, *flags: str) -> RunResult:
        """Runs a job in the process and returns its result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([job, *flags]), file=self._process.stdin, flush=True)
        return RunResult(*json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def served_session(environment: dict[str, str]) -> Iterator[ServedSession]:
    """Starts the process, and stops it at the end of the block."""
    command = [sys.executable, "-m", __name__]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=os.environ | environment
    ) as process:
        yield ServedSession(process)


def main() -> None:
    """Runs jobs until stdin ends."""
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Java prints to stdout too, and its lines are not results
    with quick_session():
        for line in sys.stdin:
            result = run_here(*json.loads(line))
            print(json.dumps([result.exit_code, result.output]), file=results, flush=True)


if __name__ == "__main__":
    main()
