"""The Java process of a local Spark session: which `java` it is, how it starts, and what it prints."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from genremill.infra.errors import UsageError

if TYPE_CHECKING:  # where pyspark is missing, `doctor` still runs
    from py4j.java_gateway import JavaGateway
    from pyspark import SparkConf

ANSWER_S = 30.0
"""Longest time that `java -version` may take; it usually takes a tenth of a second."""
_NOISE = (
    b"WARNING: Using incubator modules:",
    b"Setting default log level to",
    b"To adjust logging level use",
    b"Using Spark's default log4j profile:",
    b"NOTE: Picked up JDK_JAVA_OPTIONS:",
    b"Picked up JAVA_TOOL_OPTIONS:",
)
"""Beginnings of the lines that every start of Spark prints on stderr and that do not help users."""
silent = threading.Event()
"""While it is set, nothing that Java and its Python workers print is shown."""


def installed() -> str | None:
    """The `java` that Spark will start; None if there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    return java if java and Path(java).exists() else None


def version_of(java: str) -> int:
    """The version of a `java`; raises `UsageError` if it is not Java or does not answer in time."""
    try:
        # With its own group, a wrapper script and what it has started end together.
        process = subprocess.Popen(
            [java, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as err:
        raise UsageError(f"{java} cannot be run: {err.strerror}; set JAVA_HOME to another Java") from err
    with process:
        try:
            printed = process.communicate(timeout=ANSWER_S)[1].decode(errors="replace")
        except subprocess.TimeoutExpired as err:
            raise UsageError(
                f"{java} hangs: `java -version` did not end within {ANSWER_S:g} s; "
                "set JAVA_HOME to another Java"
            ) from err
        finally:
            _end(process.pid)
    found = re.search(r'version "(\d+)', printed)
    if found is None:
        raise UsageError(f"{java} is not Java: `java -version` printed {printed[:200]!r}")
    return int(found[1])


def start(conf: "SparkConf") -> "JavaGateway":
    """Starts Java with the configuration; hides the lines in `_NOISE`, and all lines while `silent` is set.

    Ctrl-C in a terminal does not reach Java and its Python workers; they end when this process ends.
    """
    from pyspark.java_gateway import launch_gateway

    if java := installed():
        version_of(java)
    source, target = os.pipe()
    reader = threading.Thread(target=_forward, args=(source,), daemon=True)
    reader.start()
    try:
        with open(target, "wb") as errors, _ended_on_errors():
            options = {"stderr": errors, "start_new_session": True}
            gateway: JavaGateway = launch_gateway(conf, options)  # type: ignore[no-untyped-call]
    except Exception:
        reader.join(1)  # what Java printed explains the error that follows
        raise
    return gateway


@contextlib.contextmanager
def _ended_on_errors() -> Iterator[None]:
    """If the block fails, ends the processes that it has started; pyspark would leave its Java running."""
    before = set(psutil.Process().children())
    try:
        yield
    except BaseException:
        for child in set(psutil.Process().children()) - before:
            _end(child.pid)
        raise


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _forward(source: int) -> None:
    """Copies lines to stderr, except `_NOISE`; a progress bar is copied before its line ends."""
    pending = b""
    while data := os.read(source, 1 << 16):
        *lines, pending = (pending + data).split(b"\n")
        shown = b"".join(line + b"\n" for line in lines if not line.startswith(_NOISE))
        if b"\r" in pending:
            shown, pending = shown + pending, b""
        _write(shown)
    _write(pending)
    os.close(source)


def _write(data: bytes) -> None:
    """Writes to stderr, and drops what it does not take: Java would block if nobody read its output."""
    with contextlib.suppress(OSError):
        while data and not silent.is_set():
            data = data[os.write(2, data) :]
