"""Builds the file system of the image in a folder, and runs it as Spark on Kubernetes would.

    python -m tests.deploy.image_check build/image

A driver runs a whole night on the demo catalog; an executor runs the task of another driver.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.dockerfile import DOCKERFILE, JARS, Image
from tests.deploy.maven_folder import lay_out

HOST = "127.0.0.1"
LOOPBACK = f"spark.driver.host={HOST}\nspark.driver.bindAddress={HOST}\nspark.ui.enabled=false\n"
ONE_TASK = """
import os
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
for number, option in enumerate(spark.conf.get("spark.executor.extraJavaOptions").split()):
    print(f"SPARK_JAVA_OPT_{number}={option}", flush=True)
print("ready", flush=True)

def ran(frames):
    from genremill.udfs import compiled
    compiled.require_warm()
    for frame in frames:
        yield frame.assign(pod=os.environ["SPARK_EXECUTOR_POD_NAME"])

print(spark.range(1).mapInPandas(ran, "id long, pod string").collect(), flush=True)
"""


def main(folder: Path) -> None:
    """Builds in a new folder, then runs the doctor, a driver and an executor; exits at the first failure."""
    folder.mkdir(parents=True)
    arguments = {"TORCH_INDEX": ""}  # use the index in the settings of pip
    if JARS.is_dir():
        lay_out(JARS, folder / "maven")
        arguments["REPOSITORIES"] = (folder / "maven").as_uri()
    image = Image(folder, arguments)
    image.build(DOCKERFILE.read_text())
    if shutil.which("tini") is None:
        sys.exit("the image is built; to run it here, install tini")
    finished("doctor", image.start("genremill", "doctor"), " compiled\n")
    night(image)
    executor(image)


def night(image: Image) -> None:
    """Starts a driver as the operator does, in local mode; then a driver whose job fails."""
    tracks, warehouse = image.workdir / "demo.csv", image.workdir / "warehouse"
    finished("demo", image.start("python", "-m", "genremill.jobs.demo", "--out", str(tracks)), "")
    settings = image.root / "spark.properties"
    settings.write_text(f"spark.master=local[2]\nspark.driver.memory=2g\n{LOOPBACK}")

    def driver(job: str, *flags: str) -> subprocess.Popen[str]:
        script = image.inside(f"local:///opt/genremill/jobs/{job}.py")
        runner = ("--class", "org.apache.spark.deploy.PythonRunner", script)
        flags = ("--warehouse", str(warehouse), *flags)
        properties = ("--properties-file", str(settings))
        return image.start("driver", *properties, *runner, *flags, SPARK_DRIVER_BIND_ADDRESS=HOST)

    finished("night", driver("nightly", "--tracks", str(tracks), "--json"), '"published"')
    finished("refusal", driver("publish", "--run", "none"), "no complete run", exit_code=2)


def executor(image: Image) -> None:
    """An executor of the image joins a driver whose master has no workers, and runs its task."""
    port = free_port()
    script = image.root / "one_task.py"
    script.write_text(ONE_TASK)
    settings = image.root / "spark.properties"
    with master(image) as url:
        settings.write_text(f"spark.master={url}\nspark.driver.port={port}\n{LOOPBACK}")
        driver = image.start(
            *("driver", "--properties-file", str(settings), str(script)), SPARK_DRIVER_BIND_ADDRESS=HOST
        )
        options = {}
        for line in driver.stdout or ():
            if option := re.fullmatch(r"(SPARK_JAVA_OPT_\d+)=(.*)\n", line):
                options[option[1]] = option[2]
            if line == "ready\n":
                break
        joined = image.start(
            "executor",
            SPARK_DRIVER_URL=f"spark://CoarseGrainedScheduler@{HOST}:{port}",
            SPARK_APPLICATION_ID="check",
            SPARK_EXECUTOR_ID="1",
            SPARK_EXECUTOR_CORES="1",
            SPARK_EXECUTOR_MEMORY="1g",
            SPARK_EXECUTOR_POD_IP=HOST,
            SPARK_EXECUTOR_POD_NAME="pod-1",
            SPARK_RESOURCE_PROFILE_ID="0",
            **options,
        )
        finished("driver of an executor", driver, "pod='pod-1'")
        finished("executor", joined, "Driver commanded a shutdown")


@contextlib.contextmanager
def master(image: Image) -> Iterator[str]:
    """Starts a standalone master and yields its URL."""
    port = free_port()
    command = [image.inside("/opt/spark/bin/spark-class"), "org.apache.spark.deploy.master.Master"]
    command += ["--host", HOST, "--port", str(port), "--webui-port", str(free_port())]
    process = subprocess.Popen(command, env=image.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                break
            time.sleep(0.5)
        yield f"spark://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def finished(what: str, process: subprocess.Popen[str], said: str, exit_code: int = 0) -> None:
    """Exits if a process ends with another exit code or does not print the expected text."""
    output = process.communicate(timeout=600)[0]
    if process.returncode != exit_code or said not in output:
        sys.exit(f"{output}\n{what}: exit code {process.returncode}, expected {exit_code} and {said!r}")
    print(f"ok: {what}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
