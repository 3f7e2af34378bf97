"""Checks Java, Spark, Python packages, audio decoders and the warehouse, and says how to fix what is missing.

With `spark-submit` it also checks that the executors have the same packages as the driver.

    spark-submit --master yarn jobs/doctor.py --warehouse file:///data/warehouse
"""

import hashlib
import importlib
import os
import platform
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from genremill.infra import host_name, java, run_ids, storage
from genremill.infra.errors import ExitCode, GenremillError, StorageError
from genremill.infra.flag_types import Uri
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command

if TYPE_CHECKING:
    import pandas as pd

JAVA_NEEDED = 17


@dataclass(frozen=True)
class Common(command.Common):
    """The flags of the other jobs, except that --warehouse is optional."""

    warehouse: Uri = ""
    """Folder or URI of the warehouse to check. [none is checked]"""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is done besides the checks."""

    compile: bool = False
    """First compile the functions of the feature sets for this CPU; it takes less than a minute."""


def check_java() -> str:
    """The version of Java that Spark will start."""
    found = java.installed()
    if found is None:
        hint = "Debian: apt install openjdk-17-jre-headless"
        raise GenremillError(f"no Java found; install {JAVA_NEEDED} or newer ({hint})")
    number = java.version_of(found)
    if number < JAVA_NEEDED:
        raise GenremillError(f"{found} is Java {number}; expected {JAVA_NEEDED} or newer")
    return f"{number}, {found}"


def check_host_name() -> str:
    """The name of this machine, with advice if it has no address: local jobs still run."""
    name = host_name.unresolved()
    if name is None:
        return socket.gethostname()
    until_then = f"until then, local jobs use {host_name.LOOPBACK}, and spark-submit fails"
    return f"{host_name.advice(name)}; {until_then}"


def check_import(module: str, package: str) -> str:
    """The version of a package, if a module that uses it can be imported."""
    importlib.import_module(module)
    return version(package)


def check_package() -> str:
    """The version of genremill, a digest of its modules, and the version of Python."""
    package = Path(storage.__file__).parent.parent
    folders = ("jobs", "udfs", "models", "infra")
    files = sorted(file for folder in folders for file in (package / folder).rglob("*.py"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{version('genremill')}, code {digest[:8]}, Python {platform.python_version()}"


def check_device() -> str:
    """The device that torch computes on."""
    return "cuda" if importlib.import_module("torch").cuda.is_available() else "cpu"


def check_audio() -> str:
    """The versions of the audio decoders, which must read all formats that genremill reads."""
    soundfile = importlib.import_module("soundfile")
    missing = {"WAV", "FLAC", "OGG", "MP3"} - set(soundfile.available_formats())
    if missing:
        raise GenremillError(f"{soundfile.__libsndfile_version__} cannot read {', '.join(sorted(missing))}")
    return f"{soundfile.__libsndfile_version__}, soxr {version('soxr')}, librosa {version('librosa')}"


def check_kernels() -> str:
    """The number of numba kernels compiled for this CPU; workers need all of them."""
    compiled = importlib.import_module("genremill.udfs.compiled")
    if not compiled.is_warm():
        raise GenremillError(f"not compiled for this CPU: `{compiled.COMMAND}` takes less than a minute")
    return f"{len(compiled.kernels())} compiled"


def check_own_kernels() -> str:
    """The same for this process, which compiles them when it needs them."""
    try:
        return check_kernels()
    except GenremillError as err:
        return f"{err}; otherwise the first command that needs them does it"


def check_sandbox() -> str:
    """The parts of the decoder's sandbox that hold here; not a failure if the kernel lacks some of them."""
    sandbox = importlib.import_module("genremill.udfs.decoding.sandbox")
    with sandbox.Sandbox() as started:
        return str(sandbox.described(started.lacking()))


PYTHON_CHECKS: dict[str, Callable[[], str]] = {
    "genremill": check_package,
    "torch": partial(check_import, "torch", "torch"),
    "onnxruntime": partial(check_import, "onnxruntime", "onnxruntime"),
    "petastorm": partial(check_import, "genremill.models.training.petastorm_adapter", "petastorm"),
    "scikit-learn": partial(check_import, "sklearn.cluster", "scikit-learn"),
    "audio": check_audio,
    "numba kernels": check_kernels,
}
"""The checks for the Python of the driver and of every executor."""
SANDBOX: dict[str, Callable[[], str]] = {"sandbox": check_sandbox}
"""A check whose result may differ between machines, because it depends on the kernel."""
EXECUTOR_SCHEMA = "place string, name string, ok boolean, found string"


def check_warehouse(location: str) -> str:
    """Writes, reads and removes a small object; raises if a local folder does not exist."""
    warehouse = Warehouse.at(location)
    exists = storage.exists(warehouse.uri)
    if not exists and not storage.is_s3(warehouse.uri):
        command.require_warehouse(warehouse)
    probe = warehouse.tmp(run_ids.from_clock())
    storage.write_atomic(probe, b"probe")
    try:
        if storage.read_bytes(probe) != b"probe":
            raise StorageError(f"{probe}: the bytes that were read are not the bytes that were written")
    finally:
        storage.remove_object(probe)
    note = "" if exists else "; there is no warehouse yet, `genremill nightly` or `ingest` creates it"
    return f"{warehouse.uri} can be written and read{note}"


def check_connector(location: str) -> str:
    """Writes, reads and removes a small table with Spark."""
    # Here: where pyspark is missing, the other checks still run.
    from genremill.infra.readers import warehouse_reader
    from genremill.infra.session import spark_session

    probe = Warehouse.at(location).tmp(run_ids.from_clock())
    with spark_session("genremill doctor") as spark:
        try:
            spark.range(3).write.parquet(probe)
            if warehouse_reader(spark).parquet(probe).count() != 3:
                raise StorageError(f"{probe}: the table that Spark read is not the table that it wrote")
        finally:
            storage.discard(probe)
    return "Spark writes and reads tables there"


def check_executors() -> str:
    """The places of genremill on the executors, and their sandboxes; the packages must equal the driver's."""
    from genremill.infra.session import spark_session

    with spark_session("genremill doctor") as spark:
        tasks = spark.sparkContext.defaultParallelism
        rows = spark.range(0, tasks, 1, tasks).mapInPandas(_on_executor, EXECUTOR_SCHEMA).distinct().collect()
    here = results_of(PYTHON_CHECKS).summary["checks"]
    sandboxes = {row.found for row in rows if row.name in SANDBOX}
    wrong = {
        f"{row.place} has {row.name} {row.found}, the driver has {here[row.name]['found']}"
        if row.ok
        else f"{row.place}: {row.name}: {row.found}"
        for row in rows
        if not row.ok or (row.name in here and row.found != here[row.name]["found"])
    }
    if wrong:
        raise GenremillError("; ".join(sorted(wrong)))
    places = ", ".join(sorted({row.place for row in rows}))
    return f"sandbox {' or '.join(sorted(sandboxes))}; the same packages in {places}"


def _on_executor(frames: Iterator["pd.DataFrame"]) -> Iterator["pd.DataFrame"]:
    """One row of `EXECUTOR_SCHEMA` per check of the Python worker that runs this function."""
    import pandas as pd

    for _ in frames:
        place = f"{socket.gethostname()}:{Path(storage.__file__).parent.parent}"
        found = results_of(PYTHON_CHECKS | SANDBOX).summary["checks"].items()
        yield pd.DataFrame(
            {"place": place, "name": name, "ok": one["ok"], "found": one["found"]} for name, one in found
        )


def results_of(checks: dict[str, Callable[[], str]]) -> command.Outcome:
    """Runs all checks; the exit code is 2 if one of them fails."""
    found: dict[str, dict[str, object]] = {}
    for name, check in checks.items():
        try:
            found[name] = {"ok": True, "found": check()}
        except (GenremillError, ImportError, OSError) as err:
            found[name] = {"ok": False, "found": str(err)}
    lines = [f"{'ok  ' if one['ok'] else 'FAIL'}  {name:<15}{one['found']}" for name, one in found.items()]
    ok = all(one["ok"] for one in found.values())
    text = "\n".join(lines)
    return command.Outcome({"checks": found, "ok": ok}, text, ExitCode.DONE if ok else ExitCode.USAGE)


def run(common: Common, cfg: Config) -> command.Outcome:
    """Runs all checks: of the executors only under `spark-submit`, of a warehouse only if one is named."""
    if cfg.compile:
        importlib.import_module("genremill.udfs.compiled").compile_missing()
    checks: dict[str, Callable[[], str]] = {
        "java": check_java,
        "host name": check_host_name,
        "pyspark": partial(check_import, "pyspark.sql", "pyspark"),
        "device": check_device,
        **PYTHON_CHECKS,
        "numba kernels": check_own_kernels,
        **SANDBOX,
    }
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        checks["executors"] = check_executors
    if common.warehouse:
        checks["warehouse"] = partial(check_warehouse, common.warehouse)
        if storage.is_s3(storage.absolute_uri(common.warehouse)):
            checks["spark on s3a"] = partial(check_connector, common.warehouse)
    return results_of(checks)


main = command.Command("doctor", __doc__, Config, run, Common)

if __name__ == "__main__":
    raise SystemExit(main())
