"""Accuracy of the models on tables of Spotify tracks and on report B's features, over seeds, as a table.

The table also shows the lift and the outliers. The lift is the share of the possible gain in accuracy that
the model reaches by abstaining on the least certain 20 %. Outliers are held-out tracks tagged as outliers.

The benchmark takes about 45 minutes on two cores. `--only` runs a part of it:

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
TIDYTUESDAY_COLUMNS = [
    *("--columns.artists", "track_artist", "--columns.album", "track_album_name"),
    *("--columns.popularity", "track_popularity", "--columns.genre", "playlist_genre"),
]
PLAYLIST_COLUMNS = [
    *(
        "--columns.title",
        "track_name",
        "--columns.artists",
        "track_artists",
        "--columns.genre",
        "playlist_id",
    ),
    *("--columns.duration", "track_duration_ms", "--columns.popularity", "track_popularity"),
]
GTZAN_COLUMNS = ["--columns.id", "filename", "--columns.genre", "label", "--columns.ignore", "length"]


@dataclass(frozen=True)
class Options:
    """Which parts to run."""

    only: tuple[str, ...] = ("rows", "artist", "tidytuesday", "tags", "clusters", "gtzan")


@dataclass(frozen=True)
class Result:
    """Figures of a trained model on its held-out pairs."""

    top1: float
    top5: float
    interval: str
    unseen_top1: float | None
    ece: float
    lift_share: float
    outliers: float
    seconds: float


def job(name: str, warehouse: str, *flags: str) -> dict[str, Any]:
    """Runs a job and returns its JSON document."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = cli.main([name, "--warehouse", warehouse, "--json", *flags])
    if code:
        raise SystemExit(f"{name} {flags} ended with exit code {code}")
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def trained(warehouse: str, *flags: str, model: str = "periodic_mlp") -> Result:
    """Trains and evaluates a model, and returns its figures."""
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
        sum(epoch["seconds"] for epoch in card["training"]["history"]),
    )


def show(name: str, results: list[Result]) -> None:
    """Prints a line: mean and range over the seeds, and the interval over artists of the first seed."""

    def mean(get: Callable[[Result], float]) -> float:
        return sum(get(result) for result in results) / len(results)

    def span(get: Callable[[Result], float]) -> str:
        values = [get(result) for result in results]
        return f"{mean(get):.3f} ({min(values):.3f}–{max(values):.3f})"

    top1, top5 = span(lambda result: result.top1), span(lambda result: result.top5)
    ece, lift = mean(lambda result: result.ece), span(lambda result: result.lift_share)
    outliers = mean(lambda result: result.outliers)
    print(
        f"{name:<52}{len(results):>3}  {top1:<22}{top5:<22}{results[0].interval:<14}"
        f"{ece:<7.3f}{lift:<22}{outliers:<10.2%}{mean(lambda result: result.seconds):>5.0f} s",
        flush=True,
    )


def ingested(folder: Path, name: str, table: Path, *flags: str) -> str:
    """A warehouse with the table in it."""
    warehouse = str(folder / name)
    job("ingest", warehouse, "--tracks", str(table), *flags)
    return warehouse


def by_seed(folder: Path, name: str, table: Path, *flags: str) -> list[str]:
    """Warehouses with the table in them, one for each split seed."""
    return [
        ingested(folder, f"{name}{seed}", table, *flags, "--split-seed", str(seed)) for seed in SPLIT_SEEDS
    ]


def rows(folder: Path, spotify: Path) -> None:
    """Splits by rows, which leaks artists from train to test, as in the reports."""
    warehouses = by_seed(folder, "rows", spotify, "--split", "rows")
    show(
        "rows, popularity, fcnn (network of report A)",
        [trained(uri, *POPULAR, model="fcnn") for uri in warehouses],
    )
    show("rows, popularity, periodic_mlp", [trained(uri, *POPULAR) for uri in warehouses])
    show("rows, periodic_mlp", [trained(uri) for uri in warehouses])


def artist(folder: Path, spotify: Path) -> None:
    """Splits by artist, as in a nightly job."""
    warehouses = by_seed(folder, "artist", spotify)
    show("artist, popularity, periodic_mlp", [trained(uri, *POPULAR) for uri in warehouses])
    show("artist, periodic_mlp", [trained(uri) for uri in warehouses])
    for name in ("fusion", "linear", "knn"):
        show(f"artist, popularity, {name}", [trained(uri, *POPULAR, model=name) for uri in warehouses])
        show(f"artist, {name}", [trained(uri, model=name) for uri in warehouses])


def tidytuesday(folder: Path, table: Path) -> None:
    """A table with 6 genres, split by artist."""
    warehouses = by_seed(folder, "tidytuesday", table, *TIDYTUESDAY_COLUMNS)
    for name in ("fusion", "periodic_mlp"):
        show(f"6 genres, {name}", [trained(uri, model=name) for uri in warehouses])


def tags(folder: Path, playlists: Path) -> None:
    """Playlists as labels, split by artist: what the genres of the artists add as tags."""
    for name, flags in {"no tags": (), "artist_genres": ("--columns.tags", "artist_genres")}.items():
        warehouses = by_seed(folder, name, playlists, *PLAYLIST_COLUMNS, *flags)
        show(f"33 playlists, fusion, {name}", [trained(uri, model="fusion") for uri in warehouses])


def clusters(folder: Path, spotify: Path) -> None:
    """Cluster labels as in report A: fitted with three seeds, N pairs of each class, split by rows."""
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
            summary = job("cluster", warehouse, *method, *report_a, "--seed", str(seed))
            flags = ["--labels", "cluster", "--per-class", per_class, "--seed", str(seed), *POPULAR]
            results.append(trained(warehouse, *flags))
        show(f"rows, popularity, {name} ({summary['clusters']})", results)


def gtzan(folder: Path, table: Path) -> None:
    """The 57 features of report B on the split filtered for faults and artists, and on random splits."""
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
    """Runs the selected parts."""
    options = tyro.cli(Options)
    spotify = DATA / "spotify-tracks" / "dataset.csv"
    features = DATA / "gtzan-features" / "features_30_sec.csv"
    parts: dict[str, tuple[Callable[[Path, Path], None], Path]] = {
        "rows": (rows, spotify),
        "artist": (artist, spotify),
        "tidytuesday": (tidytuesday, DATA / "tidytuesday-spotify" / "spotify_songs.csv"),
        "tags": (tags, DATA / "cases" / "public" / "playlists-pipe.csv"),
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
