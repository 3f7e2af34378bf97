"""A process with one Spark session that runs one job after the other, as it is told to.

python -m tests.e2e.served_session     # reads lines of JSON, [job, flag, …]; answers each with a line
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

from tests.e2e.faulty_nights import Ended, quick_session, run_here


class ServedSession:
    """The other end of the process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, job: str, *flags: str) -> Ended:
        """Runs a job there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([job, *flags]), file=self._process.stdin, flush=True)
        return Ended(*json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def served_session(environment: dict[str, str]) -> Iterator[ServedSession]:
    """Such a process, which ends with the block."""
    command = [sys.executable, "-m", __name__]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=os.environ | environment
    ) as process:
        yield ServedSession(process)


def main() -> None:
    """Serves until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Java prints goes elsewhere
    with quick_session():
        for line in sys.stdin:
            ended = run_here(*json.loads(line))
            print(json.dumps([ended.exit_code, ended.said]), file=answers, flush=True)


if __name__ == "__main__":
    main()
