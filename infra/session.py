"""The Spark session of a process: how it starts, what Java prints, and what its errors mean."""

import contextlib
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark import SparkConf, SparkContext
from pyspark.errors import (
    AnalysisException,
    IllegalArgumentException,
    PySparkRuntimeError,
    PythonException,
)
from pyspark.sql import SparkSession

from genremill.infra import host_name, java
from genremill.infra.errors import GenremillError, StorageError, StorageRefused, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.stores import local, s3_access, s3_client

_ALWAYS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.python.worker.reuse": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # Delta and Iceberg cannot read INT96
    "spark.python.sql.dataFrameDebugging.enabled": "false",  # four round trips to the JVM for each column
}
_LOCAL = {
    "spark.master": "local[*, 3]",  # three attempts: a Python worker may die
    "spark.driver.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
}
"""Settings of a local session; `spark-submit` has its own."""
_UNLESS_CHOSEN = {
    "spark.ui.enabled": "false",  # it shows paths and plans to everyone who can reach its port
    # Spark's own pattern does not redact `spark.executorEnv.AWS_ACCESS_KEY_ID` in the event log.
    "spark.redaction.regex": "(?i)secret|passw|token|credential|signature|(access|account)[._-]?key",
}
"""Settings on every master, unless spark-defaults.conf or --conf has other values."""
_RAISED = {
    f"\n{kind.__module__}.{kind.__qualname__}: ": kind
    for kind in (UsageError, StorageError, StorageRefused, s3_client.AccessDenied)
}
"""The names of our own errors in the traceback of a Python worker."""
_SYSTEM_ERROR = re.compile(r"\n\w*Error: \[Errno (\d+)\] (.+)\s*\Z")
_OTHER_CODE = re.compile(
    r"^(?:\w+\.)*(?:ModuleNotFoundError: |ImportError: |AttributeError: (?=Can't get attribute)"
    r"|PySpark\w+: \[(?:PYTHON_VERSION_MISMATCH|PACKAGE_NOT_INSTALLED)\] )(.+)$",
    re.MULTILINE,
)
"""Errors of a Python worker whose packages differ from the driver's."""
_REFUSED = re.compile(
    r"URISyntaxException|UnsupportedFileSystemException|AccessDeniedException|AccessControlException"
    r"|UnknownStoreException|AWSRedirectException|ReadOnlyFileSystemException|ParentNotDirectoryException"
    r"|\((Permission denied|Operation not permitted|Read-only file system|Is a directory|Not a directory"
    r"|File name too long|Too many levels of symbolic links)\)"
)
"""Errors of Java for a path that a retry would meet again."""


def _under_spark_submit() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ


def is_local(spark: SparkSession) -> bool:
    """Whether the executors are threads of the JVM of this process."""
    return str(spark.sparkContext.master).startswith("local")


@contextlib.contextmanager
def spark_session(app_name: str) -> Iterator[SparkSession]:
    """The running session, or a new one that stops at the end of the block."""
    running = SparkSession.getActiveSession()
    with faults():
        if running is not None:
            yield running
            return
        spark = _started(app_name)
        try:
            s3_access.share(spark)
            yield spark
        except Exception as err:
            if java.silent.is_set():  # the error follows from Ctrl-C
                raise KeyboardInterrupt from err
            raise
        finally:
            # Another error reports that Java died. After Ctrl-C, Java ends with this process at the latest.
            with contextlib.suppress(ConnectionRefusedError, Py4JError):
                spark.stop()


def _started(app_name: str) -> SparkSession:
    """A new session; the configuration of the user comes before our settings."""
    settings = dict(_ALWAYS)
    if not _under_spark_submit():
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        _use_loopback_if_needed()
        _use_utf8()
        log4j = Path(__file__).parent / "deploy" / "log4j2.properties"
        bar = {"spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower()}
        log = {"spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{log4j}"}
        settings |= _LOCAL | bar | log
    # Only Java can read the user's configuration, and it must start with our settings.
    _start_java(SparkConf(loadDefaults=False).setAll(list(settings.items())))
    users = SparkConf()
    settings |= {key: value for key, value in _UNLESS_CHOSEN.items() if not users.contains(key)}
    builder = SparkSession.builder.appName(app_name)
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    _handle_interrupts()
    return spark


def _use_loopback_if_needed() -> None:
    """Without an address for the name of the machine, Java would not start Spark."""
    if name := host_name.unresolved():
        LOGGER.info("%s. This local session uses %s", host_name.advice(name), host_name.LOOPBACK)
        os.environ[host_name.LOCAL_IP] = host_name.LOOPBACK


def _use_utf8() -> None:
    """Java encodes the names of files as the locale says, and Python as UTF-8."""
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    if "utf" not in locale.lower():
        os.environ["LC_ALL"] = "C.UTF-8"


def _start_java(conf: SparkConf) -> None:
    """Starts the JVM, unless it is running; the session uses it."""
    java.silent.clear()
    if SparkContext._gateway is not None or _under_spark_submit():
        SparkContext._ensure_initialized(conf=conf)
    else:
        SparkContext._ensure_initialized(gateway=java.start(conf), conf=conf)


def _handle_interrupts() -> None:
    """Replaces the handler of pyspark, and hides what Java and py4j report after Ctrl-C."""

    def interrupt(*_: object) -> None:
        java.silent.set()
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and not _under_spark_submit():
        signal.signal(signal.SIGINT, interrupt)
        logging.getLogger().addFilter(_before_interrupt)


def _before_interrupt(_: logging.LogRecord) -> bool:
    return not java.silent.is_set()


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turns errors of storage and cluster into `StorageError`."""
    try:
        yield
    except ConnectionRefusedError as err:
        raise StorageError(f"Java, which runs Spark, has died: {err}") from err
    except (Py4JJavaError, Py4JNetworkError) as err:
        # Spark has no exception for these: a lost executor, a full disk, a JVM that dies.
        cause = _cause(str(err))
        if s3_access.is_missing(str(err)):
            raise UsageError(s3_access.MISSING) from err
        if "resource: gpu" in str(err).lower():
            raise UsageError(f"Spark's configuration has GPUs, the machine has none: {cause}") from err
        raise (StorageRefused if is_permanent(cause) else StorageError)(f"Spark failed: {cause}") from err
    except IllegalArgumentException as err:
        if not is_permanent(str(err)):
            raise
        raise UsageError(f"Spark cannot use a path: {str(err).partition(chr(10))[0]}") from err
    except PythonException as err:
        raised = raised_in_worker(str(err))
        if raised is None:
            raise
        raise raised from err
    except OSError as err:
        if err.errno is None:
            raise
        raise local.system_error(err) from err
    except PySparkRuntimeError as err:
        if err.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise UsageError(
            "Java stopped when Spark started it; the lines above say why. `genremill doctor` checks Java"
        ) from err
    except AnalysisException as err:
        if err.getCondition() != "PATH_NOT_FOUND":
            raise
        raise StorageError(f"a folder of the warehouse is missing: {str(err).partition(chr(10))[0]}") from err


def is_permanent(cause: str) -> bool:
    """Whether a Java error is about a path that a retry would not be able to read or write either.

    >>> is_permanent("java.io.FileNotFoundException: /wh/tags (Read-only file system)")
    True
    >>> is_permanent("java.net.SocketTimeoutException: Read timed out")
    False
    """
    return _REFUSED.search(cause) is not None


def _cause(text: str) -> str:
    r"""What failed and why, from the text of a Java error.

    >>> _cause("An error occurred while calling o1.save.\n: Job aborted\n\tat …\nCaused by: Full: disk")
    'Job aborted; caused by Full: disk'
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
    errors = [line.removeprefix(": ") for line in lines if not line.startswith("An error occurred while")]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return "; caused by ".join(dict.fromkeys([*errors[:1], *causes[-1:]]))


def raised_in_worker(text: str) -> GenremillError | None:
    r"""The error that the traceback of a Python worker stands for, or None if it is not one of ours.

    >>> raised_in_worker("Traceback:\n  File …\ngenremill.infra.errors.UsageError: no such model")
    UsageError('no such model')
    >>> raised_in_worker("Traceback:\n  File …\nImportError: No module named 'soxr'").args[0][:66]
    "the executors' Python is not the driver's: No module named 'soxr';"
    """
    for name, kind in _RAISED.items():
        if name in text:
            return kind(text.rpartition(name)[2].strip())
    if fault := _SYSTEM_ERROR.search(text):
        return local.system_error(OSError(int(fault[1]), fault[2]))
    if difference := _OTHER_CODE.search(text):
        return UsageError(
            f"the executors' Python is not the driver's: {difference[1]}; ship it with --archives or install "
            "the same packages on every machine. `spark-submit jobs/doctor.py` compares them"
        )
    return None
