"""How time and memory of ingest, cluster and score grow with the catalog.

Each job runs by `spark-submit` with its own driver, whose heap is the same for every size, and two executors
with one core each. Memory (PSS) and CPU time are sampled over the whole tree of processes. An exponent is the
slope on logarithmic axes: 1 means linear.

python -m tests.bench.bench_scale --sizes 1000000 3000000 10000000 --folder /data/scale
"""

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pyspark
import tyro

from genremill.infra.warehouse import Warehouse
from genremill.jobs import demo, model_registry

DATA = Path(os.environ.get("GENREMILL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
TABLE = DATA / "spotify-tracks" / "dataset.csv"
ROOT = Path(__file__).parents[2]
LOG_SETTINGS = ROOT / "infra" / "deploy" / "log4j2.properties"
JOBS = ("ingest", "cluster", "score")
MIB = 2**20


@dataclass(frozen=True)
class Options:
    """Sizes of the catalogs, and memory of the processes."""

    sizes: tuple[int, ...] = (100_000, 200_000, 400_000)
    """Tracks of the catalogs."""
    folder: str | None = None
    """Where catalogs, model and warehouses are kept [a temporary folder]; existing ones are reused."""
    driver_memory: str = "512m"
    """Heap of the driver."""
    executor_memory: str = "1200m"
    """Heap of each of the two executors."""
    skew: float = 0.0
    """Share of the tracks in the largest genre."""
    genres: int | None = None
    """Number of genres [as in the table]."""
    jobs: tuple[str, ...] = JOBS
    """Jobs to measure."""


@dataclass
class Usage:
    """Seconds and the largest memory, in MiB, of a tree of processes."""

    seconds: float = 0.0
    total: float = 0.0
    driver: float = 0.0
    worker: float = 0.0
    """The largest Python worker."""
    cpu_of: dict[int, float] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """Seconds of all cores together."""
        return sum(self.cpu_of.values())

    def sample(self, root: psutil.Process) -> None:
        """Samples the processes; a process that has just ended is skipped."""
        total = 0.0
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error), process.oneshot():
                pss, times = process.memory_full_info().pss / MIB, process.cpu_times()
                total += pss
                self.cpu_of[process.pid] = times.user + times.system
                if process.pid == root.pid:
                    self.driver = max(self.driver, pss)
                elif "pyspark.daemon" in process.cmdline():
                    self.worker = max(self.worker, pss)
        self.total = max(self.total, total)


@contextlib.contextmanager
def measured(pid: int) -> Iterator[Usage]:
    """What a process and its children use until the block ends, sampled once per second."""
    usage, done, root = Usage(), threading.Event(), psutil.Process(pid)

    def watch() -> None:
        while not done.wait(1.0):
            with contextlib.suppress(psutil.NoSuchProcess):
                usage.sample(root)

    watcher = threading.Thread(target=watch, daemon=True)
    started = time.monotonic()
    watcher.start()
    try:
        yield usage
    finally:
        usage.seconds = time.monotonic() - started
        done.set()
        watcher.join()


class Bench:
    """A folder with catalogs, a model, and its own Spark home, in which the executors work."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder, self.options = folder, options
        self.table = TABLE if TABLE.exists() else folder / "demo" / "tracks.csv"
        self.home = folder / "spark"
        self.home.mkdir(parents=True, exist_ok=True)
        for entry in Path(pyspark.__path__[0]).iterdir():
            with contextlib.suppress(FileExistsError):
                (self.home / entry.name).symlink_to(entry)

    def model(self) -> str:
        """The folder of a linear model trained on the table."""
        where = str(self.folder / "model")
        if not (self.folder / "model" / "models").exists():
            if not self.table.exists():
                demo.main(["--out", str(self.table), "--clips", "0"])
            for flags in (["ingest", "--tracks", str(self.table)], ["train", "--model", "linear"]):
                command = [sys.executable, "-m", "genremill.jobs.cli", *flags, "--warehouse", where]
                subprocess.run(command, check=True, capture_output=True)
        return model_registry.folder_of(Warehouse.at(where), None)[1]

    def catalog(self, size: int) -> Path:
        """A table of this many tracks."""
        options = self.options
        path = self.folder / f"tracks-{size}-{options.skew:g}-{options.genres or 'all'}"
        if not (path / "_SUCCESS").exists():
            shutil.rmtree(path, ignore_errors=True)
            command = [sys.executable, "-m", "genremill.jobs.replica", "--tracks", str(self.table)]
            command += ["--count", str(size), "--out", str(path), "--skew", str(options.skew)]
            command += ["--genres", str(options.genres)] if options.genres else []
            subprocess.run(command, check=True, capture_output=True)
        return path

    def run(self, job: str, warehouse: Path, *flags: str) -> tuple[Usage, dict[str, int]]:
        """Runs a job; returns its usage and its JSON document."""
        memory = self.options.executor_memory
        megabytes = memory.removesuffix("m")
        settings = {
            "spark.executor.memory": memory,
            "spark.local.dir": str(self.folder / "local"),
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{LOG_SETTINGS}",
        }
        command = [str(self.home / "bin" / "spark-submit"), "--master", f"local-cluster[2,1,{megabytes}]"]
        command += ["--driver-memory", self.options.driver_memory]
        command += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        command += [str(ROOT / "jobs" / f"{job}.py"), "--json", "--warehouse", str(warehouse), *flags]
        here = {"SPARK_HOME": str(self.home), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        with (self.folder / f"{job}.log").open("wb") as log:
            child = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | here
            )
            with measured(child.pid) as usage:
                output = child.communicate()[0]
            log.write(output)
        if child.returncode:
            raise SystemExit(f"{job} failed with exit code {child.returncode}; see {log.name}")
        # spark-submit writes the log of a Python driver to stdout too; the JSON document is one line of it.
        document = next(line for line in reversed(output.decode().splitlines()) if line.startswith("{"))
        summary: dict[str, int] = json.loads(document)
        return usage, summary

    def run_all(self, size: int) -> list[tuple[str, int, Usage]]:
        """Runs the jobs on a catalog of this size; returns job, tracks and usage of each."""
        table, warehouse = self.catalog(size), self.folder / f"warehouse-{size}"
        flags = {"ingest": ["--tracks", str(table)], "score": ["--model", self.model()]}
        rows, tracks = [], size
        for job in self.options.jobs:
            usage, summary = self.run(job, warehouse, *flags.get(job, []))
            tracks = summary.get("tracks", tracks)
            rows.append((job, tracks, usage))
            print(
                f"{job:8} {tracks:>11,} {usage.seconds:9.0f} {tracks / usage.seconds:9,.0f} {usage.cpu:9.0f} "
                f"{usage.total / 1024:7.2f} {usage.driver:8.0f} {usage.worker:8.0f}",
                flush=True,
            )
        if "score" in self.options.jobs:
            shutil.rmtree(warehouse)
        return rows


def exponent(tracks: list[int], values: list[float]) -> float:
    """The slope of the straight line through the points on logarithmic axes; NaN for one size.

    >>> round(exponent([1, 10, 100], [3.0, 30.0, 300.0]), 6)
    1.0
    """
    if len(set(tracks)) < 2:
        return math.nan
    return float(np.polyfit(np.log(tracks), np.log(values), 1)[0])


def main() -> None:
    """Prints the tables."""
    options = tyro.cli(Options)
    with contextlib.ExitStack() as stack:
        scratch = options.folder or stack.enter_context(tempfile.TemporaryDirectory())
        bench = Bench(Path(scratch), options)
        print(
            f"driver heap {options.driver_memory}, two executors of one core, heap {options.executor_memory}"
        )
        print("job           tracks   seconds  tracks/s     CPU s     GiB  driver   worker (MiB)")
        rows = [row for size in sorted(options.sizes) for row in bench.run_all(size)]
    print("exponent from smallest to largest: seconds, CPU, memory")
    for job in options.jobs:
        runs = [(tracks, usage) for name, tracks, usage in rows if name == job]
        tracks = [count for count, _ in runs]
        by = [[usage.seconds for _, usage in runs], [usage.cpu for _, usage in runs]]
        by.append([usage.total for _, usage in runs])
        print(f"{job:8} " + " ".join(f"{exponent(tracks, values):6.2f}" for values in by))


if __name__ == "__main__":
    main()
