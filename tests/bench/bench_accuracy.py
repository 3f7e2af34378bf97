"""Accuracy of the models on the Spotify table and on report B's features, over several seeds, as a table.

Beside it how far confidence can be trusted (the lift: of the gain in accuracy that leaving out the least
certain fifth could bring, how much it does), and the share of held-out tracks that are taken for outliers.

Takes about three quarters of an hour on two cores. `--only` runs a part of it:

    python -m tests.bench.bench_accuracy --only rows artist
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from genremill.infra.session import spark_session
from genremill.jobs import cli

DATA = Path(os.environ.get("GENREMILL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SPLIT_SEEDS = (0, 1, 2)
POPULAR = ["--use-popularity"]
GTZAN_COLUMNS = ["--columns.id", "filename", "--columns.genre", "label", "--columns.ignore", "length"]


@dataclass(frozen=True)
class Options:
    """Which parts to run."""

    only: tuple[str, ...] = ("rows", "artist", "clusters", "gtzan")


@dataclass(frozen=True)
class Result:
    """Figures of one trained model on its held-out pairs."""

    top1: float
    top5: float
    interval: str
    unseen_top1: float | None
    ece: float
    lift_share: float
    outliers: float
    seconds: float


def job(name: str, warehouse: str, *flags: str) -> dict[str, Any]:
    """What a job says in JSON."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = cli.main([name, "--warehouse", warehouse, "--json", *flags])
    if code:
        raise SystemExit(f"{name} {flags} ended with exit code {code}")
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def trained(warehouse: str, *flags: str, model: str = "periodic_mlp") -> Result:
    """Trains, evaluates and gives the figures."""
    version = job("train", warehouse, "--model", model, *flags)["model_version"]
    metrics = job("evaluate", warehouse, "--model-version", version)["metrics"]
    card = json.loads((Path(warehouse) / "models" / version / "model.json").read_text())
    top1, unseen = metrics["top1"], metrics["unseen_artists"]
    return Result(
        top1["value"],
        metrics["top5"]["value"],
        f"{top1['low']:.3f}–{top1['high']:.3f}" if top1["low"] is not None else "–",
        unseen["top1"]["value"] if unseen else None,
        metrics["ece"]["value"],
        metrics["lift_share"]["value"],
        metrics["tags"]["outlier"] if metrics["tags"] else 0.0,
        sum(one["seconds"] for one in card["training"]["history"]),
    )


def show(name: str, results: list[Result]) -> None:
    """One line of the table: mean and range over the seeds, the first seed's interval over artists."""

    def mean(get: Callable[[Result], float]) -> float:
        return sum(get(one) for one in results) / len(results)

    def span(get: Callable[[Result], float]) -> str:
        values = [get(one) for one in results]
        return f"{mean(get):.3f} ({min(values):.3f}–{max(values):.3f})"

    top1, top5 = span(lambda one: one.top1), span(lambda one: one.top5)
    ece, lift = mean(lambda one: one.ece), span(lambda one: one.lift_share)
    outliers = mean(lambda one: one.outliers)
    print(
        f"{name:<52}{len(results):>3}  {top1:<22}{top5:<22}{results[0].interval:<14}"
        f"{ece:<7.3f}{lift:<22}{outliers:<10.2%}{mean(lambda one: one.seconds):>5.0f} s",
        flush=True,
    )


def ingested(folder: Path, name: str, table: Path, *flags: str) -> str:
    """A warehouse with the table in it."""
    warehouse = str(folder / name)
    job("ingest", warehouse, "--tracks", str(table), *flags)
    return warehouse


def rows(folder: Path, spotify: Path) -> None:
    """Split by rows, the reports' leaky protocol."""
    houses = [
        ingested(folder, f"rows{seed}", spotify, "--split", "rows", "--split-seed", str(seed))
        for seed in SPLIT_SEEDS
    ]
    show("rows, popularity, fcnn as report A", [trained(w, *POPULAR, model="fcnn") for w in houses])
    show("rows, popularity, periodic_mlp", [trained(w, *POPULAR) for w in houses])
    show("rows, periodic_mlp", [trained(w) for w in houses])


def artist(folder: Path, spotify: Path) -> None:
    """Split by artist, what a nightly job meets."""
    houses = [ingested(folder, f"artist{seed}", spotify, "--split-seed", str(seed)) for seed in SPLIT_SEEDS]
    show("artist, popularity, periodic_mlp", [trained(w, *POPULAR) for w in houses])
    show("artist, periodic_mlp", [trained(w) for w in houses])
    for name in ("fusion", "linear", "knn"):
        show(f"artist, popularity, {name}", [trained(w, *POPULAR, model=name) for w in houses])
        show(f"artist, {name}", [trained(w, model=name) for w in houses])
    show("artist, joint_fusion", [trained(w, model="joint_fusion") for w in houses])
    of_artists = [trained(w, "--inputs", "auto+artist", model="fusion") for w in houses]
    show("artist, fusion, auto+artist", of_artists)


def clusters(folder: Path, spotify: Path) -> None:
    """Report A's relabelling: clusters refitted over three seeds, N pairs of each class, split by rows."""
    warehouse = ingested(folder, "clusters", spotify, "--split", "rows")
    report_a = ["--fit-on", "all", *POPULAR]
    cases = {
        "KMeans 20, 1,000 a cluster": (["--method", "kmeans", "--clusters", "20"], "1000"),
        "Spectral 20, 1,000 a cluster": (["--method", "spectral", "--clusters", "20"], "1000"),
        "Affinity, 1,000 a cluster": (["--method", "affinity"], "1000"),
        "manual 5, 8,000 a group": (["--method", "manual", "--map", "report-a"], "8000"),
    }
    for name, (method, per_class) in cases.items():
        results = []
        for seed in SPLIT_SEEDS:
            found = job("cluster", warehouse, *method, *report_a, "--seed", str(seed))
            flags = ["--labels", "cluster", "--per-class", per_class, "--seed", str(seed), *POPULAR]
            results.append(trained(warehouse, *flags))
        show(f"rows, popularity, {name} ({found['clusters']})", results)


def gtzan(folder: Path, table: Path) -> None:
    """Report B's 57 features: the fault- and artist-filtered split, and random splits."""
    split = folder / "split.csv"
    names = {"train": "train", "valid": "validation", "test": "test"}
    lines = [
        f"{line}.au,{part}"
        for name, part in names.items()
        for line in (table.parent / f"filtered_{name}.txt").read_text().split()
    ]
    split.write_text("id,split\n" + "\n".join(line.replace(".wav", "") for line in lines) + "\n")
    filtered = ingested(folder, "gtzan", table, *GTZAN_COLUMNS, "--split-file", str(split))
    show("GTZAN filtered, five training seeds", [trained(filtered, "--seed", str(seed)) for seed in range(5)])
    drawn = []
    for seed in range(10):
        flags = ["--split", "rows", "--fractions", ".7", ".15", ".15", "--split-seed", str(seed)]
        drawn.append(trained(ingested(folder, f"gtzan{seed}", table, *GTZAN_COLUMNS, *flags)))
    show("GTZAN random 70:15:15, ten split seeds", drawn)


def main() -> None:
    """Runs the parts asked for."""
    options = tyro.cli(Options)
    spotify = DATA / "spotify-tracks" / "dataset.csv"
    features = DATA / "gtzan-features" / "features_30_sec.csv"
    parts: dict[str, tuple[Callable[[Path, Path], None], Path]] = {
        "rows": (rows, spotify),
        "artist": (artist, spotify),
        "clusters": (clusters, spotify),
        "gtzan": (gtzan, features),
    }
    print(
        f"{'':<52}{'n':>3}  {'top-1 (range)':<22}{'top-5 (range)':<22}{'95 %, artists':<14}"
        f"{'ECE':<7}{'lift, of the possible':<22}{'outliers':<10}training"
    )
    with tempfile.TemporaryDirectory() as folder, spark_session("genremill bench"):
        for name in options.only:
            part, table = parts[name]
            if table.exists():
                part(Path(folder), table)
            else:
                print(f"{name}: skipped, {table} is not here; set GENREMILL_TEST_DATA", file=sys.stderr)


if __name__ == "__main__":
    main()
