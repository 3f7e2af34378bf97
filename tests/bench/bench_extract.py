"""The whole `extract` job on clips of 30 s: how much of the cores' time is decoding and features.

python tests/bench/bench_extract.py --clips 2000
"""

import csv
import json
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

from genremill.jobs.demo_clips import SR, clip, style_of
from genremill.udfs.decoding import DecodeSettings
from genremill.udfs.gtzan57 import Gtzan57
from genremill.udfs.sandbox import Sandbox

DISTINCT = 50
SECONDS = 30.0


@dataclass(frozen=True)
class Options:
    """How much to extract."""

    clips: int = 2000


def main() -> int:
    """Prints the table."""
    options = tyro.cli(Options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        masters = [folder / f"master{at}.mp3" for at in range(DISTINCT)]
        for at, path in enumerate(masters):
            sf.write(path, clip(style_of(at, DISTINCT), np.random.default_rng(at), SECONDS), SR, format="MP3")
        with (folder / "tracks.csv").open("w") as out:
            table = csv.writer(out)
            table.writerow(["track_id", "track_genre", "artists", "audio_uri"])
            for at in range(options.clips):
                shutil.copy(masters[at % DISTINCT], folder / "clips" / f"{at}.mp3")
                table.writerow([f"t{at}", f"g{at % 5}", f"artist {at}", f"{at}.mp3"])
        one = clip_seconds(masters)
        where = ["--warehouse", str(folder / "warehouse")]
        job("ingest", *where, "--tracks", str(folder / "tracks.csv"))
        started = time.monotonic()
        peak = Peak()
        found = job("extract", *where, "--audio-root", str(folder / "clips"))
        wall = time.monotonic() - started
        cores = os.cpu_count() or 1
        session = session_seconds()
        net = wall - session
        print(f"{options.clips} clips of {SECONDS:g} s, {cores} cores, decoded {found['decoded']}")
        print(f"one clip alone, decoded and measured   {1000 * one:8.1f} ms")
        print(f"the job, a session's start taken off   {net:8.1f} s   {options.clips / net:.1f} clips/s")
        print(f"of the cores' time in decode + features {100 * one * options.clips / cores / net:7.0f} %")
        print(f"largest Python worker                  {peak.stop():8.0f} MiB")
    return 0


def clip_seconds(paths: list[Path]) -> float:
    """Mean seconds of one clip in one warm process, with both cores at work as in the job."""
    features = Gtzan57()
    features.warm()
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with Sandbox() as sandbox:
            settings = DecodeSettings(sr=features.sr, seconds=SECONDS)
            for path in [paths[0], *paths]:
                if path is paths[0]:
                    started = time.monotonic()
                with path.open("rb") as audio:
                    features.values(sandbox.decode(audio.fileno(), settings).y)
            return (time.monotonic() - started) / len(paths)
    finally:
        burner.kill()
        burner.wait()


def job(name: str, *flags: str) -> dict[str, int]:
    """What a job says in JSON."""
    command = [sys.executable, "-m", "genremill.jobs.cli", name, "--json", *flags]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, dict[str, dict[str, int]]] = json.loads(said)
    return found["features"]["gtzan57"] if name == "extract" else {}


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
    """Largest unshared and shared memory of a Python worker, sampled while a job runs."""

    def __init__(self) -> None:
        self.mib = 0.0
        self.done = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self) -> None:
        while not self.done.wait(0.5):
            for one in psutil.process_iter(["cmdline"]):
                if "pyspark.daemon" in " ".join(one.info["cmdline"] or []):
                    try:
                        self.mib = max(self.mib, one.memory_info().rss / 2**20)
                    except psutil.Error:
                        continue

    def stop(self) -> float:
        """MiB at the largest."""
        self.done.set()
        self.watcher.join()
        return self.mib


if __name__ == "__main__":
    sys.exit(main())
