"""Jobs of the second night in their own processes. They are killed, slowed down, or get a full disk."""

import contextlib
import enum
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from pyarrow.fs import LocalFileSystem

from genremill.infra.deploy.cluster import LocalCluster
from genremill.infra.errors import ExitCode
from tests.e2e.faulty_nights import Case, RunResult, Storage, Verdict, judge, key_of, s3a_options
from tests.e2e.faulty_proxy import Fault, Request, first
from tests.e2e.s3_server import free_ports
from tests.e2e.warehouse_contents import Place

ROOT = Path(__file__).parents[2]
DEADLINE_S = 240.0
SLOW_TASK_S = 15.0
HALF_WAY = {"extract": 3, "train": 1, "score": 1}
"""The number of the matching request of a job at which the moment is reached; 1 for other jobs."""


class Victim(enum.Enum):
    """The process that is killed. The last two exist only in a standalone cluster."""

    PYTHON_WORKER = "a Python worker"
    DRIVER = "the driver"
    EXECUTOR = "an executor"
    SPARK_WORKER = "a Spark worker"


class Moment:
    """A moment in the middle of a job, recognized by a request, which is held until the test releases it.

    The request of `extract` reads a clip, that of `train` writes a checkpoint, that of `score` writes tags.
    """

    def __init__(self, job: str) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        self._request = re.compile(
            {
                "extract": r"GET /[^?]*/in/.*\.(wav|flac|ogg|mp3)",
                "train": r"PUT /[^?]*/epoch-00005/model\.json",
                "score": r"(PUT|POST) /[^?]*/tags/run(=|%3D).*part-",
                "publish": r"PUT /[^?]*/_generation\.json",
            }[job]
        )
        self._left = HALF_WAY.get(job, 1)
        self._lock = threading.Lock()
        self.seen: list[str] = []
        """The matching requests so far."""

    def choose(self, request: Request) -> Fault | None:
        """Injects no fault, but holds the request that marks the moment."""
        if not self._request.match(f"{request.method} {request.path}"):
            return None
        with self._lock:
            self.seen.append(request.path)
            now = len(self.seen) == self._left
        if now:
            self.reached.set()
            self.released.wait(DEADLINE_S)
        return None


@dataclass(frozen=True)
class Job:
    """A job in its own process, and its log."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def wait(self, deadline_s: float = DEADLINE_S) -> RunResult:
        """Waits for the job and returns its result; kills it if it does not end in time."""
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            output = self.log.read_text(errors="replace")
            return RunResult(1, f"{output}\nthe job did not end within {deadline_s} s")
        return RunResult(code, self.log.read_text(errors="replace"))

    def kill(self) -> None:
        """Kills the driver, its JVM and all of their child processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start_job(name: str, flags: Sequence[str], log: Path, submit: Sequence[str] = (), **extra: str) -> Job:
    """Starts a job: with `spark-submit` and the options `submit`, or as a command."""
    command = [sys.executable, "-m", "genremill.jobs.cli", name]
    if submit:
        spark_submit = Path(sys.executable).parent / "spark-submit"
        command = [str(spark_submit), *submit, str(ROOT / "jobs" / f"{name}.py")]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *flags],
            env=os.environ | extra,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Job(name, process, log)


def python_worker(job: psutil.Process) -> psutil.Process | None:
    """The Python worker that used the most CPU time, or a rank of a training."""
    children = commands(job.children(recursive=True))
    daemons = {child.pid for child, command in children if "pyspark.daemon" in command}
    workers = [child for child, _ in children if child.ppid() in daemons]
    ranks = [child for child, command in children if "genremill.models.training.local_ranks" in command]
    found = ranks or sorted(workers, key=lambda worker: sum(worker.cpu_times()[:2]))
    return found[-1] if found else None


def process_named(command: str, among: Sequence[psutil.Process]) -> psutil.Process | None:
    """The first process whose command line contains a text."""
    return next((process for process, line in commands(among) if command in line), None)


def commands(processes: Sequence[psutil.Process]) -> list[tuple[psutil.Process, str]]:
    """The processes that still run, and their command lines."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):  # the process has ended
            found.append((process, " ".join(process.cmdline())))
    return found


@dataclass(frozen=True)
class Killing:
    """Runs jobs on S3, in folders, and on a cluster of two workers."""

    storage: Storage
    folder: Path
    cluster: LocalCluster

    @classmethod
    @contextlib.contextmanager
    def on(cls, storage: Storage, folder: Path) -> Iterator["Killing"]:
        """Sets up a cluster of two workers, which stops after the block."""
        port, ui_port = free_ports(2)
        cluster = LocalCluster(folder / "cluster", port, ui_port, memory="1g")
        try:
            yield cls(storage, folder, cluster)
        finally:
            cluster.down()

    def cases(self) -> Iterator[Case]:
        """All cases; those that kill a process come first."""
        for job in ("extract", "train", "score"):
            for on_s3 in (True, False):
                for victim in Victim:
                    name = f"{job}: {victim.value} killed, {'on S3' if on_s3 else 'in a folder'}"
                    yield Case(name, partial(self._kill_in, name, job, victim, on_s3))
        for job in ("extract", "score"):
            yield Case(f"{job}: speculation, a slow task", partial(self._speculate, job))
        for job in ("ingest", "cluster", "train"):
            yield Case(f"{job}: Spark's local disk full", partial(self._fill_disk, job, "spark.local.dir"))
        yield Case(
            "score: S3A's disk full", partial(self._fill_disk, "score", "spark.hadoop.fs.s3a.buffer.dir")
        )
        for late in (0, 1):
            yield Case(f"publish: two race, number {late + 1} is late", partial(self._race, late))
        yield Case("nightly: two at once", self._two_nights)

    def _kill_in(self, name: str, job: str, victim: Victim, on_s3: bool) -> tuple[str, Verdict]:
        uri, place = self._warehouse(name, job, on_s3)
        flags = ["--warehouse", uri, *self.storage.nights.flags(job)]
        before = place.pointers()
        moment = Moment(job)
        self.storage.proxy.plan(moment.choose)
        on_cluster = victim in (Victim.EXECUTOR, Victim.SPARK_WORKER)
        running = self._start(job, flags, on_cluster)
        try:
            by_request = on_s3 or job == "extract"
            if not _wait_for(moment.reached if by_request else _FileMoment(Path(uri), job), running):
                return "nothing", Verdict(running.wait(), "FAILED: the moment was not reached")
            injected = self._kill(victim, running)
        finally:
            moment.released.set()
        result = running.wait()
        self.storage.proxy.plan(first())

        def again() -> RunResult:
            return self._start(job, flags, on_cluster).wait()

        expected = self.storage.expected(job)
        return injected, judge(place, before, expected, result, again, killed=victim is Victim.DRIVER)

    def _kill(self, victim: Victim, job: Job) -> str:
        """Kills a process and returns what was done, as text."""
        found: psutil.Process | None
        match victim:
            case Victim.DRIVER:
                job.kill()
                return "SIGKILL"
            case Victim.PYTHON_WORKER:
                found = python_worker(psutil.Process(job.process.pid))
            case Victim.EXECUTOR:
                found = process_named("CoarseGrainedExecutorBackend", self._cluster_processes())
            case Victim.SPARK_WORKER:
                found = process_named("deploy.worker.Worker", self._cluster_processes())
        if found is None:
            return f"no {victim.value} found"
        found.send_signal(signal.SIGKILL)
        return "SIGKILL"

    def _cluster_processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for file in self.cluster.folder.glob("worker-*.pid"):
            with contextlib.suppress(psutil.Error):
                daemon = psutil.Process(int(file.read_text()))
                found += [daemon, *daemon.children(recursive=True)]
        return found

    def _warehouse(self, name: str, job: str, on_s3: bool = True) -> tuple[str, Place]:
        """Copies the warehouse that the job starts from."""
        bucket, key = self.storage.bucket, key_of(name)
        if on_s3:
            bucket.copy(self.storage.before(job), key)
            return bucket.uri(key), bucket.place(key)
        bucket.download(self.storage.before(job), self.folder / key)
        return str(self.folder / key), Place(LocalFileSystem(), str(self.folder / key))

    def _start(self, job: str, flags: Sequence[str], on_cluster: bool = False, *settings: str) -> Job:
        log = self.folder / f"{key_of(job)}-{time.monotonic_ns()}.log"
        if not on_cluster:
            conf = " ".join(f"--conf {setting}" for setting in settings)
            return start_job(job, flags, log, PYSPARK_SUBMIT_ARGS=f"{s3a_options()} {conf} pyspark-shell")
        self.cluster.up()
        python = f"spark.pyspark.python={sys.executable}"
        all_settings = (python, "spark.ui.enabled=false", "spark.driver.host=127.0.0.1", *settings)
        conf = " ".join(f"--conf {setting}" for setting in all_settings)
        submit = (
            f"--master {self.cluster.url} --executor-memory 512m --driver-memory 1g {conf} {s3a_options()}"
        )
        return start_job(job, flags, log, submit.split())

    def _speculate(self, job: str) -> tuple[str, Verdict]:
        uri, place = self._warehouse(f"{job}-speculation", job)
        flags = ["--warehouse", uri, *self.storage.nights.flags(job)]
        before, moment = place.pointers(), Moment(job)
        self.storage.proxy.plan(moment.choose)
        names = ("=true", ".quantile=0.4", ".multiplier=1.1", ".interval=200ms", ".minTaskRuntime=500ms")
        running = self._start(job, flags, True, *(f"spark.speculation{name}" for name in names))
        _wait_for(moment.reached, running)
        deadline, seen = time.monotonic() + SLOW_TASK_S, len(moment.seen)
        while time.monotonic() < deadline and running.process.poll() is None:
            time.sleep(0.2)
        again = len(moment.seen) - seen
        moment.released.set()
        result = running.wait()
        self.storage.proxy.plan(first())
        return f"a task held, {again} requests since", judge(
            place, before, self.storage.expected(job), result, lambda: self._start(job, flags, True).wait()
        )

    def _fill_disk(self, job: str, setting: str) -> tuple[str, Verdict]:
        uri, place = self._warehouse(f"{job}-{setting}", job)
        flags = ["--warehouse", uri, *self.storage.nights.flags(job)]
        before = place.pointers()
        self.storage.proxy.plan(first())
        with _small_disk(self.folder / "small") as disk:
            result = self._start(job, flags, False, f"{setting}={disk}").wait()
        return "a disk of 64 kB", judge(
            place, before, self.storage.expected(job), result, lambda: self._start(job, flags).wait()
        )

    def _race(self, late: int) -> tuple[str, Verdict]:
        uri, place = self._warehouse(f"race-{late}", "publish")
        self.storage.proxy.plan(first())
        self._start("score", ["--warehouse", uri]).wait()
        flags = ["--warehouse", uri, *self.storage.nights.flags("publish")]
        staged = [run for run in place.folders("tags") if place.is_file(f"tags/{run}/_run.json")]
        runs = [run.removeprefix("run=") for run in staged[-2:]]
        losing, winning = ([*flags, "--run", runs[at]] for at in (late, 1 - late))
        moment = Moment("publish")
        self.storage.proxy.plan(moment.choose)
        loser = self._start("publish", losing)
        _wait_for(moment.reached, loser)
        winner = self._start("publish", winning).wait()
        between = place.pointers()
        moment.released.set()
        result = loser.wait()
        self.storage.proxy.plan(first())
        if winner.exit_code or runs[1 - late].encode() not in between["tags"]:
            return "", Verdict(winner, f"FAILED: the other run ended with {winner.exit_code}")
        if result.exit_code == 0 or "meanwhile" not in result.message or place.pointers() != between:
            return "", Verdict(result, "FAILED: two winners")
        return "one publishes while one audits", judge(
            place,
            between,
            self.storage.expected("publish"),
            result,
            lambda: self._start("publish", losing).wait(),
        )

    def _two_nights(self) -> tuple[str, Verdict]:
        uri, place = self._warehouse("two-nights", "nightly")
        flags = ["--warehouse", uri, *self.storage.nights.flags("nightly")]
        before = place.pointers()
        self.storage.proxy.plan(first())
        both = [self._start("nightly", flags) for _ in range(2)]
        ends = sorted((night.wait() for night in both), key=lambda result: result.exit_code)
        codes = "exit codes " + " and ".join(str(result.exit_code) for result in ends)
        if ends[0].exit_code:
            return codes, Verdict(ends[0], "FAILED: neither succeeded")
        return codes, judge(
            place,
            before,
            self.storage.expected("nightly"),
            ends[1],
            lambda: self._start("nightly", flags).wait(),
            refusal=ExitCode.USAGE,
        )


class _FileMoment:
    """A moment of a job whose warehouse is a folder, recognized by a file that the job writes."""

    def __init__(self, warehouse: Path, job: str) -> None:
        self._warehouse = warehouse
        self._pattern = {
            "train": "_checkpoints/*/epoch-00005/model.json",
            "score": "tags/run=*/_temporary/**/*.parquet",
        }[job]

    def wait(self, _: float) -> bool:
        """Whether the file exists."""
        time.sleep(0.02)
        return next(self._warehouse.glob(self._pattern), None) is not None


def _wait_for(reached: threading.Event | _FileMoment, job: Job) -> bool:
    """Waits for a moment; returns whether it was reached before the job ended."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if reached.wait(0.1):
            return True
        if job.process.poll() is not None:
            return False
    return False


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """Mounts a file system of 64 kB."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
