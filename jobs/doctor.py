"""Checks Java, Spark, Python packages, decoders and the warehouse, and says how to mend what is missing.

Under `spark-submit` it checks the executors' Python too, and compares it with the driver's.

    spark-submit --master yarn jobs/doctor.py --warehouse file:///data/warehouse
"""

import hashlib
import importlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from genremill.infra import storage
from genremill.infra.errors import ExitCode, GenremillError, StorageError
from genremill.infra.flag_types import Uri
from genremill.jobs import command

if TYPE_CHECKING:
    import pandas as pd

JAVA_NEEDED = 17


@dataclass(frozen=True)
class Common(command.Common):
    """The warehouse is optional here: without one, storage is not checked."""

    warehouse: Uri = ""


@dataclass(frozen=True)
class Config:
    """No flags of its own."""


class CheckFailed(GenremillError):
    """Something genremill needs is missing; the message says how to mend it."""


def check_java() -> str:
    """Version of the Java that Spark will start."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise CheckFailed(
            f"no Java found; install {JAVA_NEEDED} or newer (Debian: apt install openjdk-17-jre-headless)"
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < JAVA_NEEDED:
        raise CheckFailed(
            f"{java} is {said.splitlines()[0] if said else 'no Java'}; {JAVA_NEEDED} or newer is needed"
        )
    return f"{found[1]}, {java}"


def check_spark() -> str:
    """Version of Spark."""
    importlib.import_module("pyspark.sql")
    return version("pyspark")


def check_package() -> str:
    """Version of genremill, a digest of its modules, and the Python that runs it."""
    package = Path(storage.__file__).parent.parent
    modules = sorted(
        one for folder in ("jobs", "udfs", "models", "infra") for one in (package / folder).rglob("*.py")
    )
    digest = hashlib.sha256(b"".join(one.read_bytes() for one in modules)).hexdigest()
    return f"{version('genremill')}, code {digest[:8]}, Python {platform.python_version()}"


def check_torch() -> str:
    """Version of torch."""
    return str(importlib.import_module("torch").__version__)


def check_device() -> str:
    """What torch computes on."""
    return "cuda" if importlib.import_module("torch").cuda.is_available() else "cpu"


def check_petastorm() -> str:
    """Version of petastorm, once its adapter has brought it up."""
    importlib.import_module("genremill.models.training.petastorm_adapter")
    return version("petastorm")


def check_sklearn() -> str:
    """Version of scikit-learn."""
    importlib.import_module("sklearn.cluster")
    return version("scikit-learn")


def check_audio() -> str:
    """Versions of what decodes audio, and the formats that genremill takes."""
    soundfile = importlib.import_module("soundfile")
    missing = {"WAV", "FLAC", "OGG", "MP3"} - set(soundfile.available_formats())
    if missing:
        raise CheckFailed(f"{soundfile.__libsndfile_version__} lacks {', '.join(sorted(missing))}")
    return f"{soundfile.__libsndfile_version__}, soxr {version('soxr')}, librosa {version('librosa')}"


def check_kernels() -> str:
    """Whether the compiled parts of feature extraction are there for this CPU."""
    compiled = importlib.import_module("genremill.udfs.compiled")
    if not compiled.is_warm():
        raise CheckFailed(f"not compiled for this CPU: `{compiled.COMMAND}` takes less than a minute")
    return f"{len(compiled.kernels())} compiled"


PYTHON_CHECKS: dict[str, Callable[[], str]] = {
    "genremill": check_package,
    "torch": check_torch,
    "petastorm": check_petastorm,
    "scikit-learn": check_sklearn,
    "audio": check_audio,
    "numba kernels": check_kernels,
}
"""What each Python of an application must pass."""
EXECUTOR_SCHEMA = "place string, name string, ok boolean, found string"


def check_warehouse(location: str) -> str:
    """A round trip of a small object."""
    probe = f"{storage.absolute_uri(location)}/_tmp/doctor-{uuid.uuid4().hex}"
    storage.write_atomic(probe, b"probe")
    try:
        if storage.read_bytes(probe) != b"probe":
            raise StorageError(f"{probe}: what was written is not what is read")
    finally:
        storage.remove_object(probe)
    return f"{storage.absolute_uri(location)} can be written and read"


def check_connector(location: str) -> str:
    """A round trip of a small table by Spark."""
    from genremill.infra.session import spark_session  # here: where pyspark is missing, the others still run

    probe = f"{storage.absolute_uri(location)}/_tmp/doctor-{uuid.uuid4().hex}"
    with spark_session("genremill doctor") as spark:
        try:
            spark.range(3).write.parquet(probe)
            if spark.read.parquet(probe).count() != 3:
                raise StorageError(f"{probe}: what Spark wrote is not what it reads")
        finally:
            storage.remove(probe)
    return "Spark writes and reads tables there"


def check_executors() -> str:
    """Where executors have genremill, once their Python has passed the checks and equals this one."""
    from genremill.infra.session import spark_session

    with spark_session("genremill doctor") as spark:
        tasks = spark.sparkContext.defaultParallelism
        rows = spark.range(0, tasks, 1, tasks).mapInPandas(_on_executor, EXECUTOR_SCHEMA).distinct().collect()
    here = run(PYTHON_CHECKS).summary["checks"]
    wrong = {
        f"{row.place} has {row.name} {row.found}, here it is {here[row.name]['found']}"
        if row.ok
        else f"{row.place}: {row.name}: {row.found}"
        for row in rows
        if not row.ok or row.found != here[row.name]["found"]
    }
    if wrong:
        raise CheckFailed("; ".join(sorted(wrong)))
    return f"the same packages in {', '.join(sorted({row.place for row in rows}))}"


def _on_executor(frames: Iterator["pd.DataFrame"]) -> Iterator["pd.DataFrame"]:
    """A row of `EXECUTOR_SCHEMA` for each check of Python, by the Python worker that runs this."""
    import pandas as pd

    for _ in frames:
        place = f"{socket.gethostname()}:{Path(storage.__file__).parent.parent}"
        found = run(PYTHON_CHECKS).summary["checks"].items()
        yield pd.DataFrame(
            {"place": place, "name": name, "ok": one["ok"], "found": one["found"]} for name, one in found
        )


def run(checks: dict[str, Callable[[], str]]) -> command.Outcome:
    """Runs all checks, and fails if one of them does."""
    found: dict[str, dict[str, object]] = {}
    for name, check in checks.items():
        try:
            found[name] = {"ok": True, "found": check()}
        except (GenremillError, ImportError, OSError) as err:
            found[name] = {"ok": False, "found": str(err)}
    lines = [f"{'ok  ' if one['ok'] else 'FAIL'}  {name:<15}{one['found']}" for name, one in found.items()]
    healthy = all(one["ok"] for one in found.values())
    code = ExitCode.DONE if healthy else ExitCode.USAGE
    return command.Outcome({"checks": found, "ok": healthy}, "\n".join(lines), code)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    checks = {"java": check_java, "pyspark": check_spark, "device": check_device} | PYTHON_CHECKS

    def job(common: command.Common, cfg: Config) -> command.Outcome:
        where = common.warehouse
        storage_checks = {"warehouse": lambda: check_warehouse(where)} if where else {}
        if storage.is_s3(storage.absolute_uri(where or ".")):
            storage_checks["spark on s3a"] = lambda: check_connector(where)
        submitted = "PYSPARK_GATEWAY_PORT" in os.environ
        cluster_checks = {"executors": check_executors} if submitted else {}
        return run(checks | cluster_checks | storage_checks)

    return command.plain_main("doctor", __doc__, Config, job, argv, Common)


if __name__ == "__main__":
    sys.exit(main())
