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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pyspark
import tyro

HOST = "127.0.0.1"
SPARK_HOME = Path(pyspark.__file__).parent
START_S, STOP_S = 90, 15


@dataclass(frozen=True)
class LocalCluster:
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
        ports = ("--port", str(self.port), "--webui-port", str(self.ui_port))
        self._start("master", "master.Master", *ports)
        self._wait(0)
        size = ("--webui-port", "0", "--cores", str(self.cores), "--memory", self.memory)
        for number in range(1, self.workers + 1):
            name = f"worker-{number}"
            work = ("--work-dir", str((self.folder / name).resolve()))
            self._start(name, "worker.Worker", *size, *work, self.url)
        self._wait(self.workers)

    def down(self) -> None:
        """Stops daemons and executors, and removes their scratch space. The logs stay."""
        for file in sorted(self.folder.glob("*.pid"), reverse=True):  # workers first
            _end(file)
            file.unlink()
        for scratch in [*self.folder.glob("worker-?*/"), self.folder / "local"]:
            shutil.rmtree(scratch, ignore_errors=True)

    def _start(self, name: str, daemon: str, *arguments: str) -> None:
        pid_file = self.folder / f"{name}.pid"
        if _runs(pid_file):
            return
        command = (SPARK_HOME / "bin" / "spark-class", f"org.apache.spark.deploy.{daemon}")
        with (self.folder / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(
                [*command, "--host", HOST, *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        pid_file.write_text(str(started.pid))

    def _environment(self) -> dict[str, str]:
        inherited = {"HOME", "USER", "LANG", "TZ"} | {name for name in os.environ if name.startswith("AWS_")}
        # A port in use is an error: Spark must not try the next one. Each worker removes its copy of an
        # archive, which is larger than a gigabyte, ten minutes after the application has finished.
        options = "-Dspark.port.maxRetries=0 -Dspark.master.rest.enabled=false "
        options += "-Dspark.worker.cleanup.interval=60 -Dspark.worker.cleanup.appDataTtl=600"
        return {name: value for name, value in os.environ.items() if name in inherited} | {
            "PATH": os.defpath,
            "JAVA_HOME": os.environ.get("JAVA_HOME") or _java_home(),
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_LOCAL_IP": HOST,  # the web pages too
            "SPARK_LOCAL_DIRS": str((self.folder / "local").resolve()),
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": options,
        }

    def _registered(self) -> int:
        """The number of workers that the master reports; -1 if it does not respond."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.ui_port}/json/", timeout=2) as response:
                status = json.load(response)
        except (OSError, ValueError):
            return -1
        return int(status["aliveworkers"]) if status["url"] == self.url else -1

    def _wait(self, workers: int) -> None:
        """Waits until the master responds, and this many workers are registered."""
        deadline = time.monotonic() + START_S
        while self._registered() < workers:
            for file in sorted(self.folder.glob("*.pid")):
                if not _runs(file):
                    log = file.with_suffix(".log")
                    last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                    raise SystemExit(f"{file.stem} has ended. The last lines of {log}:\n{last}")
            if time.monotonic() > deadline:
                raise SystemExit(f"The cluster was not ready after {START_S} s.")
            time.sleep(0.2)


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
    if not _runs(pid_file):
        return
    group = int(pid_file.read_text())  # the process group of the daemon and its executors
    deadline = time.monotonic() + STOP_S
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while _runs(pid_file) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)


def main(
    action: Annotated[Literal["up", "down"], tyro.conf.Positional],
    cluster: Annotated[LocalCluster, tyro.conf.arg(name="")],
) -> None:
    """Starts or stops a standalone Spark cluster on this machine."""
    if action == "up":
        cluster.up()
        print(cluster.url)
    else:
        cluster.down()


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
