"""Speed of the whole `extract` job on clips of 30 s, compared with plain processes that decode and extract.

python -m tests.bench.bench_extract --clips 2000
"""

import csv
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile as sf
import tyro

from genremill.jobs.synthetic.clips import SR, clip, style_of
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import DecodeSettings
from genremill.udfs.feature_sets.gtzan57 import Gtzan57

DISTINCT, PLAIN_CLIPS = 50, 200
SECONDS = 30.0


@dataclass(frozen=True)
class Options:
    """How many clips to extract."""

    clips: int = 2000


def main() -> int:
    """Prints the table."""
    options = tyro.cli(Options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        masters = [folder / f"master{number}.mp3" for number in range(DISTINCT)]
        for number, path in enumerate(masters):
            rng = np.random.default_rng(number)
            sf.write(path, clip(style_of(number, DISTINCT), rng, SECONDS), SR, format="MP3")
        with (folder / "tracks.csv").open("w") as out:
            table = csv.writer(out)
            table.writerow(["track_id", "track_genre", "artists", "audio_uri"])
            for number in range(options.clips):
                shutil.copy(masters[number % DISTINCT], folder / "clips" / f"{number}.mp3")
                table.writerow([f"t{number}", f"g{number % 5}", f"artist {number}", f"{number}.mp3"])
        cores = os.cpu_count() or 1
        sample = sorted((folder / "clips").iterdir())[: PLAIN_CLIPS * cores]
        plain = plain_seconds(sample, cores) * options.clips / len(sample)
        where = ["--warehouse", str(folder / "warehouse")]
        job("ingest", *where, "--tracks", str(folder / "tracks.csv"))
        started = time.monotonic()
        peak = Peak()
        summary = job("extract", *where, "--audio-root", str(folder / "clips"))
        wall = time.monotonic() - started
        session = session_seconds()
        net = wall - session
        print(f"{options.clips} clips of {SECONDS:g} s, {cores} cores, decoded {summary['decoded']}")
        print(f"plain processes, one per core         {plain:8.1f} s   {options.clips / plain:.1f} clips/s")
        print(f"the job without starting the session  {net:8.1f} s   {options.clips / net:.1f} clips/s")
        print(f"plain time / job time                  {100 * plain / net:6.0f} %")
        print(f"largest Python worker                 {peak.stop():8.0f} MiB")
    return 0


def plain_seconds(paths: list[Path], cores: int) -> float:
    """Seconds that plain processes, one per core and all at the same time, need for the clips."""
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(share_seconds, [paths[:2]] * cores, chunksize=1)  # starts the processes and their sandboxes
        return max(pool.map(share_seconds, [paths[core::cores] for core in range(cores)], chunksize=1))


def share_seconds(paths: list[Path]) -> float:
    """Seconds for decoding clips and computing their features in this process."""
    features = Gtzan57()
    features.warm()
    settings = DecodeSettings(sr=features.sr, seconds=SECONDS)
    with Sandbox() as sandbox:
        with paths[0].open("rb") as audio:
            sandbox.decode(audio.fileno(), settings)
        started = time.monotonic()
        for path in paths:
            with path.open("rb") as audio:
                features.values(sandbox.decode(audio.fileno(), settings).y)
        return time.monotonic() - started


def job(name: str, *flags: str) -> dict[str, int]:
    """Runs a job; returns what `extract` reports about the feature set."""
    command = [sys.executable, "-m", "genremill.jobs.cli", name, "--json", *flags]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    document: dict[str, dict[str, dict[str, int]]] = json.loads(output)
    return document["features"]["gtzan57"] if name == "extract" else {}


def session_seconds() -> float:
    """Seconds of a process that starts a Spark session and ends it."""
    started = time.monotonic()
    code = (
        "from genremill.infra.session import spark_session\n"
        "with spark_session('bench') as spark: spark.range(1).count()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.monotonic() - started


class Peak:
    """Largest resident memory of a Python worker, sampled while a job runs."""

    def __init__(self) -> None:
        self.mib = 0.0
        self.done = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self) -> None:
        while not self.done.wait(0.5):
            for process in psutil.process_iter(["cmdline"]):
                if "pyspark.daemon" in " ".join(process.info["cmdline"] or []):
                    try:
                        self.mib = max(self.mib, process.memory_info().rss / 2**20)
                    except psutil.Error:
                        continue

    def stop(self) -> float:
        """Stops sampling and returns the largest value, in MiB."""
        self.done.set()
        self.watcher.join()
        return self.mib


if __name__ == "__main__":
    sys.exit(main())
