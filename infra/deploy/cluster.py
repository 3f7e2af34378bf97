"""A standalone Spark cluster on 127.0.0.1: a master and two workers, from pip's Spark.

    python infra/deploy/cluster.py up      # prints spark://127.0.0.1:7077 once the workers are registered
    python infra/deploy/cluster.py down

Executors get no environment variable that points to this Python environment, so they import only what is
shipped to them.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pyspark
import tyro

HOST = "127.0.0.1"
SPARK_HOME = Path(pyspark.__file__).parent
START_S, STOP_S = 90, 15
PASSED_ON = ("HOME", "USER", "LANG", "TZ")
"""Environment variables that daemons and executors inherit, in addition to those of AWS."""


@dataclass(frozen=True)
class Cluster:
    """The folder, the ports and the size of a cluster."""

    folder: Path = Path("build/cluster")
    """Holds logs, process ids and the workers' scratch space."""
    port: int = 7077
    ui_port: int = 8080
    workers: int = 2
    cores: int = 1
    """Cores of each worker."""
    memory: str = "3g"
    """Memory of each worker for the heaps of its executors."""

    @property
    def url(self) -> str:
        """The value for `spark-submit --master`."""
        return f"spark://{HOST}:{self.port}"

    def up(self) -> None:
        """Starts the daemons that do not run yet, and waits until all workers are registered."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ui = ("--webui-port", str(self.ui_port))
        self._start("master", "master.Master", "--host", HOST, "--port", str(self.port), *ui)
        _wait(lambda: self._registered() is not None, START_S, self._unready)
        for number in range(1, self.workers + 1):
            size = ("--cores", str(self.cores), "--memory", self.memory)
            work = ("--work-dir", str((self.folder / f"worker-{number}").resolve()))
            self._start(
                f"worker-{number}",
                "worker.Worker",
                "--host",
                HOST,
                "--webui-port",
                "0",
                *size,
                *work,
                self.url,
            )
        _wait(lambda: self._registered() == self.workers, START_S, self._unready)

    def down(self) -> None:
        """Stops daemons and executors, and removes their scratch space. The logs stay."""
        for file in sorted(self.folder.glob("*.pid"), reverse=True):  # workers first
            if _runs(file):
                _end(file)
            file.unlink()
        for scratch in [*self.folder.glob("worker-?*/"), self.folder / "local"]:
            shutil.rmtree(scratch, ignore_errors=True)

    def _start(self, name: str, daemon: str, *arguments: str) -> None:
        pid_file = self.folder / f"{name}.pid"
        if _runs(pid_file):
            return
        with (self.folder / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(
                [SPARK_HOME / "bin" / "spark-class", f"org.apache.spark.deploy.{daemon}", *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        pid_file.write_text(str(started.pid))

    def _environment(self) -> dict[str, str]:
        java = os.environ.get("JAVA_HOME") or _java_home()
        # A port in use is an error: Spark must not try the next one. Each worker removes its copy of an
        # archive, which is larger than a gigabyte, ten minutes after the application has finished.
        options = "-Dspark.port.maxRetries=0 -Dspark.master.rest.enabled=false "
        options += "-Dspark.worker.cleanup.interval=60 -Dspark.worker.cleanup.appDataTtl=600"
        own = {
            "PATH": os.defpath,
            "JAVA_HOME": java,
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_LOCAL_IP": HOST,  # the web pages too
            "SPARK_LOCAL_DIRS": str((self.folder / "local").resolve()),
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": options,
        }
        shared = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith("AWS_")}
        return shared | own

    def _registered(self) -> int | None:
        """The number of workers that the master reports; None if it does not respond."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.ui_port}/json/", timeout=2) as response:
                status = json.load(response)
        except (OSError, ValueError):
            return None
        return int(status["aliveworkers"]) if status["url"] == self.url else None

    def _unready(self) -> str | None:
        """Names a daemon that has ended, with the end of its log; None while all daemons run."""
        for file in sorted(self.folder.glob("*.pid")):
            if not _runs(file):
                log = file.with_suffix(".log")
                last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                return f"{file.stem} has ended. The last lines of {log}:\n{last}"
        return None


def _java_home() -> str:
    java = shutil.which("java")
    if java is None:
        raise SystemExit("Java was not found. `genremill doctor` explains how to install it.")
    return str(Path(java).resolve().parent.parent)


def _runs(pid_file: Path) -> bool:
    """Whether the daemon of a pid file still runs; the id may belong to another process by now."""
    if not pid_file.exists():
        return False
    command = ["ps", "-ww", "-p", pid_file.read_text(), "-o", "command="]
    return "org.apache.spark.deploy." in subprocess.run(command, capture_output=True, text=True).stdout


def _end(pid_file: Path) -> None:
    group = int(pid_file.read_text())  # the process group of the daemon and its executors
    deadline = time.monotonic() + STOP_S
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while _runs(pid_file) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)


def _wait(ready: Callable[[], bool], seconds: float, unready: Callable[[], str | None]) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        failure = unready()
        if failure or time.monotonic() > deadline:
            raise SystemExit(failure or f"The cluster was not ready after {seconds} s.")
        time.sleep(0.2)


def main(
    action: Annotated[Literal["up", "down"], tyro.conf.Positional],
    cluster: Annotated[Cluster, tyro.conf.arg(name="")],
) -> None:
    """Starts or stops a standalone Spark cluster on this machine."""
    if action == "up":
        cluster.up()
        print(cluster.url)
    else:
        cluster.down()


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
