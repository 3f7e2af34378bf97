"""Checks Java, Spark, Python packages, decoders and the warehouse, and says how to mend what is missing.

genremill doctor --warehouse build/warehouse
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from genremill.infra import storage
from genremill.infra.errors import ExitCode, GenremillError, StorageError
from genremill.jobs import command

JAVA_NEEDED = 17


@dataclass(frozen=True)
class Common(command.Common):
    """The warehouse is optional here: without one, storage is not checked."""

    warehouse: str = ""


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


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


def check_torch() -> str:
    """Version of torch, and what it computes on."""
    torch = importlib.import_module("torch")
    return f"{torch.__version__}, {'cuda' if torch.cuda.is_available() else 'cpu'}"


def check_petastorm() -> str:
    """Version of petastorm, once its adapter has brought it up."""
    importlib.import_module("genremill.models.petastorm_adapter")
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
    checks = {
        "java": check_java,
        "pyspark": check_spark,
        "torch": check_torch,
        "petastorm": check_petastorm,
        "scikit-learn": check_sklearn,
        "audio": check_audio,
        "numba kernels": check_kernels,
    }

    def job(common: command.Common, cfg: Config) -> command.Outcome:
        storage_check = {"warehouse": lambda: check_warehouse(common.warehouse)} if common.warehouse else {}
        return run(checks | storage_check)

    return command.plain_main("doctor", __doc__, Config, job, argv, Common)


if __name__ == "__main__":
    sys.exit(main())
