"""Jobs of the second night in processes of their own, killed in part, slowed down or starved."""

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

from genremill.infra.deploy.cluster import Cluster
from genremill.infra.errors import ExitCode
from tests.e2e.faulty_nights import Case, Ended, Storage, Verdict, as_key, judged, s3a_options
from tests.e2e.faulty_proxy import Fault, Request, first
from tests.e2e.s3_server import free_ports
from tests.e2e.warehouse_contents import Place

ROOT = Path(__file__).parents[2]
DEADLINE_S = 240.0
SLOW_TASK_S = 15.0
HALF_WAY = {"extract": 3, "train": 1, "score": 1}
"""How many of a job's tell-tale requests are let through before the moment has come."""


class Victim(enum.Enum):
    """What is killed; the last two are a standalone cluster's."""

    PYTHON_WORKER = "a Python worker"
    DRIVER = "the driver"
    EXECUTOR = "an executor"
    SPARK_WORKER = "a Spark worker"


class Moment:
    """A moment in the middle of a job, told by its requests: the one that tells it waits until it is over.

    `extract` is known by the clips that it reads, `train` by a checkpoint, `score` by the tags it writes.
    """

    def __init__(self, job: str) -> None:
        self.come, self.over = threading.Event(), threading.Event()
        self._tells = re.compile(
            {
                "extract": r"GET /[^?]*/in/.*\.(wav|flac|ogg|mp3)",
                "train": r"PUT /[^?]*/epoch-00005/model\.json",
                "score": r"(PUT|POST) /[^?]*/tags/run(=|%3D).*part-",
                "publish": r"PUT /[^?]*/tags/_current\.json",
            }[job]
        )
        self._left = HALF_WAY.get(job, 1)
        self._lock = threading.Lock()
        self.seen: list[str] = []
        """The tell-tale requests so far."""

    def choose(self, request: Request) -> Fault | None:
        """No fault ever; but the request that tells of the moment is held."""
        if not self._tells.match(f"{request.method} {request.path}"):
            return None
        with self._lock:
            self.seen.append(request.path)
            now = len(self.seen) == self._left
        if now:
            self.come.set()
            self.over.wait(DEADLINE_S)
        return None


@dataclass(frozen=True)
class Job:
    """A job in a process of its own, and what it says."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def ended(self) -> Ended:
        """How it ended; killed where it would not."""
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return Ended(1, f"{self.log.read_text(errors='replace')}\nit hung for {DEADLINE_S} s")
        return Ended(code, self.log.read_text(errors="replace"))

    def kill(self) -> None:
        """Kills the driver, its JVM and all they have started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def started(name: str, flags: Sequence[str], log: Path, submit: Sequence[str] = (), **extra: str) -> Job:
    """A job under way: by `spark-submit` with the options `submit`, or as a command of its own."""
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
    """A Python worker that is at work, or a rank of a training."""
    below = commands(job.children(recursive=True))
    daemons = {one.pid for one, command in below if "pyspark.daemon" in command}
    workers = [one for one, _ in below if one.ppid() in daemons]
    ranks = [one for one, command in below if "genremill.models.training.local_ranks" in command]
    found = ranks or sorted(workers, key=lambda one: sum(one.cpu_times()[:2]))
    return found[-1] if found else None


def named(command: str, among: Sequence[psutil.Process]) -> psutil.Process | None:
    """The first process with this in its command line."""
    return next((one for one, its in commands(among) if command in its), None)


def commands(processes: Sequence[psutil.Process]) -> list[tuple[psutil.Process, str]]:
    """Those that live, and their command lines."""
    found = []
    for one in processes:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            found.append((one, " ".join(one.cmdline())))
    return found


@dataclass(frozen=True)
class Killing:
    """Runs on S3, in folders, and on a cluster of two workers."""

    storage: Storage
    folder: Path
    cluster: Cluster

    @classmethod
    @contextlib.contextmanager
    def on(cls, storage: Storage, folder: Path) -> Iterator["Killing"]:
        """A cluster of two workers, which ends with the block."""
        port, ui_port = free_ports(2)
        cluster = Cluster(folder / "cluster", port, ui_port, memory="1g")
        try:
            yield cls(storage, folder, cluster)
        finally:
            cluster.down()

    def cases(self) -> Iterator[Case]:
        """Kills first, then the rest."""
        for job in ("extract", "train", "score"):
            for on_s3 in (True, False):
                for victim in Victim:
                    name = f"{job}: {victim.value} killed, {'on S3' if on_s3 else 'in a folder'}"
                    yield Case(name, partial(self._killed, name, job, victim, on_s3))
        for job in ("extract", "score"):
            yield Case(f"{job}: speculation, a slow task", partial(self._speculated, job))
        for job in ("ingest", "cluster", "train"):
            yield Case(f"{job}: Spark's local disk full", partial(self._starved, job, "spark.local.dir"))
        yield Case(
            "score: S3A's disk full", partial(self._starved, "score", "spark.hadoop.fs.s3a.buffer.dir")
        )
        for late in (0, 1):
            yield Case(f"publish: two race, number {late + 1} is late", partial(self._raced, late))
        yield Case("nightly: two at once", self._two_nights)

    def _killed(self, name: str, job: str, victim: Victim, on_s3: bool) -> tuple[str, Verdict]:
        uri, place = self._warehouse(name, job, on_s3)
        flags = ["--warehouse", uri, *self.storage.nights.flags(job)]
        before = place.pointers()
        moment = Moment(job)
        self.storage.proxy.plan(moment.choose)
        on_cluster = victim in (Victim.EXECUTOR, Victim.SPARK_WORKER)
        running = self._started(job, flags, on_cluster)
        try:
            if not _comes(moment.come if on_s3 or job == "extract" else _Watched(Path(uri), job), running):
                return "nothing", Verdict(running.ended(), "FAILED: the moment never came")
            injected = self._kill(victim, running)
        finally:
            moment.over.set()
        ended = running.ended()
        self.storage.proxy.plan(first())

        def again() -> Ended:
            return self._started(job, flags, on_cluster).ended()

        expected = self.storage.expected(job)
        return injected, judged(place, before, expected, ended, again, killed=victim is Victim.DRIVER)

    def _kill(self, victim: Victim, job: Job) -> str:
        """Kills one, and says what it did."""
        found: psutil.Process | None
        match victim:
            case Victim.DRIVER:
                job.kill()
                return "SIGKILL"
            case Victim.PYTHON_WORKER:
                found = python_worker(psutil.Process(job.process.pid))
            case Victim.EXECUTOR:
                found = named("CoarseGrainedExecutorBackend", self._of_the_cluster())
            case Victim.SPARK_WORKER:
                found = named("deploy.worker.Worker", self._of_the_cluster())
        if found is None:
            return f"no {victim.value} found"
        found.send_signal(signal.SIGKILL)
        return "SIGKILL"

    def _of_the_cluster(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for file in self.cluster.folder.glob("worker-*.pid"):
            with contextlib.suppress(psutil.Error):
                daemon = psutil.Process(int(file.read_text()))
                found += [daemon, *daemon.children(recursive=True)]
        return found

    def _warehouse(self, name: str, job: str, on_s3: bool = True) -> tuple[str, Place]:
        """A warehouse as the job finds it."""
        bucket, key = self.storage.bucket, as_key(name)
        if on_s3:
            bucket.copy(self.storage.before(job), key)
            return bucket.uri(key), bucket.place(key)
        bucket.download(self.storage.before(job), self.folder / key)
        return str(self.folder / key), Place(LocalFileSystem(), str(self.folder / key))

    def _started(self, job: str, flags: Sequence[str], on_cluster: bool = False, *settings: str) -> Job:
        log = self.folder / f"{as_key(job)}-{time.monotonic_ns()}.log"
        if not on_cluster:
            conf = " ".join(f"--conf {one}" for one in settings)
            return started(job, flags, log, PYSPARK_SUBMIT_ARGS=f"{s3a_options()} {conf} pyspark-shell")
        self.cluster.up()
        python = f"spark.pyspark.python={sys.executable}"
        ours = (python, "spark.ui.enabled=false", "spark.driver.host=127.0.0.1", *settings)
        conf = " ".join(f"--conf {one}" for one in ours)
        submit = (
            f"--master {self.cluster.url} --executor-memory 512m --driver-memory 1g {conf} {s3a_options()}"
        )
        return started(job, flags, log, submit.split())

    def _speculated(self, job: str) -> tuple[str, Verdict]:
        uri, place = self._warehouse(f"{job}-speculation", job)
        flags = ["--warehouse", uri, *self.storage.nights.flags(job)]
        before, moment = place.pointers(), Moment(job)
        self.storage.proxy.plan(moment.choose)
        names = ("=true", ".quantile=0.4", ".multiplier=1.1", ".interval=200ms", ".minTaskRuntime=500ms")
        running = self._started(job, flags, True, *(f"spark.speculation{one}" for one in names))
        _comes(moment.come, running)
        deadline, seen = time.monotonic() + SLOW_TASK_S, len(moment.seen)
        while time.monotonic() < deadline and running.process.poll() is None:
            time.sleep(0.2)
        again = len(moment.seen) - seen
        moment.over.set()
        ended = running.ended()
        self.storage.proxy.plan(first())
        return f"a task held, {again} requests since", judged(
            place, before, self.storage.expected(job), ended, lambda: self._started(job, flags, True).ended()
        )

    def _starved(self, job: str, setting: str) -> tuple[str, Verdict]:
        uri, place = self._warehouse(f"{job}-{setting}", job)
        flags = ["--warehouse", uri, *self.storage.nights.flags(job)]
        before = place.pointers()
        self.storage.proxy.plan(first())
        with _small_disk(self.folder / "small") as disk:
            ended = self._started(job, flags, False, f"{setting}={disk}").ended()
        return "a disk of 64 kB", judged(
            place, before, self.storage.expected(job), ended, lambda: self._started(job, flags).ended()
        )

    def _raced(self, late: int) -> tuple[str, Verdict]:
        uri, place = self._warehouse(f"race-{late}", "publish")
        self.storage.proxy.plan(first())
        self._started("score", ["--warehouse", uri]).ended()
        flags = ["--warehouse", uri, *self.storage.nights.flags("publish")]
        staged = [one for one in place.folders("tags") if place.is_file(f"tags/{one}/_run.json")]
        runs = [one.removeprefix("run=") for one in staged[-2:]]
        losing, winning = ([*flags, "--run", runs[at]] for at in (late, 1 - late))
        moment = Moment("publish")
        self.storage.proxy.plan(moment.choose)
        loser = self._started("publish", losing)
        _comes(moment.come, loser)
        winner = self._started("publish", winning).ended()
        between = place.pointers()
        moment.over.set()
        ended = loser.ended()
        self.storage.proxy.plan(first())
        if winner.exit_code or runs[1 - late].encode() not in between["tags"]:
            return "", Verdict(winner, f"FAILED: the other one ended with {winner.exit_code}")
        if ended.exit_code == 0 or "meanwhile" not in ended.message or place.pointers() != between:
            return "", Verdict(ended, "FAILED: two winners")
        return "one publishes while one audits", judged(
            place,
            between,
            self.storage.expected("publish"),
            ended,
            lambda: self._started("publish", losing).ended(),
        )

    def _two_nights(self) -> tuple[str, Verdict]:
        uri, place = self._warehouse("two-nights", "nightly")
        flags = ["--warehouse", uri, *self.storage.nights.flags("nightly")]
        before = place.pointers()
        self.storage.proxy.plan(first())
        both = [self._started("nightly", flags) for _ in range(2)]
        ends = sorted((one.ended() for one in both), key=lambda one: one.exit_code)
        codes = "exit codes " + " and ".join(str(one.exit_code) for one in ends)
        if ends[0].exit_code:
            return codes, Verdict(ends[0], "FAILED: neither ended well")
        return codes, judged(
            place,
            before,
            self.storage.expected("nightly"),
            ends[1],
            lambda: self._started("nightly", flags).ended(),
            refusal=ExitCode.USAGE,
        )


class _Watched:
    """A moment of a job whose warehouse is a folder, told by what appears in it."""

    def __init__(self, warehouse: Path, job: str) -> None:
        self._warehouse = warehouse
        self._pattern = {
            "train": "_checkpoints/*/epoch-00005/model.json",
            "score": "tags/run=*/_temporary/**/*.parquet",
        }[job]

    def wait(self, _: float) -> bool:
        """Whether it has come."""
        time.sleep(0.02)
        return next(self._warehouse.glob(self._pattern), None) is not None


def _comes(come: threading.Event | _Watched, job: Job) -> bool:
    """Whether the moment comes before the job ends."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if come.wait(0.1):
            return True
        if job.process.poll() is not None:
            return False
    return False


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
