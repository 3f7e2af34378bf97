"""The one Spark session of a process."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from py4j.protocol import Py4JJavaError, Py4JNetworkError
from pyspark import SparkConf
from pyspark.errors import AnalysisException, PySparkRuntimeError, PythonException
from pyspark.sql import SparkSession

from genremill.infra.errors import GenremillError, StorageError, UsageError
from genremill.infra.java_output import start_java
from genremill.infra.stores import s3_access

_ALWAYS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.python.worker.reuse": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.python.sql.dataFrameDebugging.enabled": "false",  # four round trips to the JVM for each column
}
_LOCAL = {
    "spark.master": "local[*, 3]",  # a task whose worker dies is tried again
    "spark.driver.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
}
"""Settings of a session that nobody submitted to a cluster; `spark-submit` brings its own."""
_UNLESS_CHOSEN = {
    "spark.ui.enabled": "false",  # it shows paths and plans to whoever reaches its port
    # Spark's own pattern lets `spark.executorEnv.AWS_ACCESS_KEY_ID` through into the event log.
    "spark.redaction.regex": "(?i)secret|passw|token|credential|signature|(access|account)[._-]?key",
}
"""Settings on every master, unless the user's spark-defaults.conf or --conf has others."""


_RAISED = {f"\n{kind.__module__}.{kind.__qualname__}: ": kind for kind in (UsageError, StorageError)}
"""How a traceback from a Python worker names the errors that are raised on purpose."""
_OTHER_CODE = re.compile(
    r"^(?:\w+\.)*(?:ModuleNotFoundError: |ImportError: |AttributeError: (?=Can't get attribute)"
    r"|PySpark\w+: \[(?:PYTHON_VERSION_MISMATCH|PACKAGE_NOT_INSTALLED)\] )(.+)$",
    re.MULTILINE,
)
"""How one says that its Python is not that of the driver."""
_NO_GPU = re.compile("resource: gpu", re.IGNORECASE)
"""What Spark says, at its start, of GPUs that its configuration names and the machine lacks."""


def _under_spark_submit() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ


def is_local(spark: SparkSession) -> bool:
    """Whether executors are threads of this process's own JVM."""
    return str(spark.sparkContext.master).startswith("local")


@contextlib.contextmanager
def spark_session(app_name: str) -> Iterator[SparkSession]:
    """The running session, or a new one that ends with the block."""
    running = SparkSession.getActiveSession()
    if running is not None:
        with faults():
            yield running
        return
    with faults():
        spark = _started(app_name)
        try:
            s3_access.share(spark)
            yield spark
        finally:
            with contextlib.suppress(ConnectionRefusedError):  # where Java is dead, that is told already
                spark.stop()


def _started(app_name: str) -> SparkSession:
    """A new session, with what the user's own configuration leaves open."""
    settings = dict(_ALWAYS)
    if not _under_spark_submit():
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        log4j = Path(__file__).parent / "deploy" / "log4j2.properties"
        bar = {"spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower()}
        settings |= (
            _LOCAL | bar | {"spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{log4j}"}
        )
    # Spark's Java side alone knows the user's configuration; what it needs at its start goes with it.
    start_java(SparkConf(loadDefaults=False).setAll(list(settings.items())))
    users = SparkConf()
    settings |= {key: value for key, value in _UNLESS_CHOSEN.items() if not users.contains(key)}
    builder = SparkSession.builder.appName(app_name)
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turns faults of storage and cluster into `StorageError`s."""
    try:
        yield
    except ConnectionRefusedError as err:
        raise StorageError(f"Java, which runs Spark, has died: {err}") from err
    except (Py4JJavaError, Py4JNetworkError) as err:
        # What Spark could not turn into an error of its own: a lost executor, a full disk, a dying JVM.
        if s3_access.is_missing(str(err)):
            raise UsageError(s3_access.MISSING) from err
        if _NO_GPU.search(str(err)):
            raise UsageError(f"Spark was told to use GPUs that are not there: {_cause(str(err))}") from err
        raise StorageError(f"Spark failed: {_cause(str(err))}") from err
    except PythonException as err:
        raised = raised_in_worker(str(err))
        if raised is None:
            raise
        raise raised from err
    except PySparkRuntimeError as err:
        if err.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise UsageError(
            "Java ended as Spark started it, and says why above; see `genremill doctor`"
        ) from err
    except AnalysisException as err:
        if err.getCondition() != "PATH_NOT_FOUND":
            raise
        raise StorageError(f"a folder of the warehouse is gone: {str(err).partition(chr(10))[0]}") from err


def _cause(text: str) -> str:
    r"""What failed and why, out of the text of a Java error.

    >>> _cause("An error occurred while calling o1.save.\n: Job aborted\n\tat …\nCaused by: Full: disk")
    'Job aborted; caused by Full: disk'
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
    said = [line.removeprefix(": ") for line in lines if not line.startswith("An error occurred while")]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return "; caused by ".join(dict.fromkeys([*said[:1], *causes[-1:]]))


def raised_in_worker(text: str) -> GenremillError | None:
    r"""What the text of a Python worker's traceback stands for; None where nothing is known of it.

    >>> raised_in_worker("Traceback:\n  File …\ngenremill.infra.errors.UsageError: no such model")
    UsageError('no such model')
    >>> raised_in_worker("Traceback:\n  File …\nImportError: No module named 'soxr'").args[0][:66]
    "the executors' Python is not the driver's: No module named 'soxr';"
    """
    for name, kind in _RAISED.items():
        if name in text:
            return kind(text.rpartition(name)[2].strip())
    if lacking := _OTHER_CODE.search(text):
        return UsageError(
            f"the executors' Python is not the driver's: {lacking[1]}; ship it with --archives, or install "
            "the same on every machine; `spark-submit jobs/doctor.py` compares them"
        )
    return None
