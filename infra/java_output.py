"""Java's stderr without the lines that every start of Spark prints and that do not help a user."""

import os
import threading

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway

_NOISE = (
    b"WARNING: Using incubator modules:",
    b"Setting default log level to",
    b"To adjust logging level use",
    b"Using Spark's default log4j profile:",
    b"NOTE: Picked up JDK_JAVA_OPTIONS:",
    b"Picked up JAVA_TOOL_OPTIONS:",
)


def start_java(conf: SparkConf) -> None:
    """Starts the Java process of Spark, unless one is running; Spark's own start finds it."""
    if SparkContext._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ:
        SparkContext._ensure_initialized(conf=conf)
        return
    source, target = os.pipe()
    reader = threading.Thread(target=_forward, args=(source,), daemon=True)
    reader.start()
    try:
        gateway = launch_gateway(conf, {"stderr": target})  # type: ignore[no-untyped-call]
    except BaseException:
        os.close(target)
        reader.join(1)  # what Java printed explains the error that follows
        raise
    os.close(target)
    SparkContext._ensure_initialized(gateway=gateway, conf=conf)


def _forward(source: int) -> None:
    """Copies lines to stderr, without noise, and a progress bar at once, because it does not end its line."""
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
    while data:
        data = data[os.write(2, data) :]
