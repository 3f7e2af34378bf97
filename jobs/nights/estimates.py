"""Estimates what the steps of a night would cost, from the records of earlier nights."""

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.jobs import command, snapshots
from genremill.jobs.catalog import audio_folder, source_rows
from genremill.jobs.catalog.row_checks import typed_rows
from genremill.jobs.catalog.table_reader import reading
from genremill.jobs.contracts import Split
from genremill.jobs.flags import in_section
from genremill.jobs.job_inputs import newest_tracks
from genremill.jobs.nights import steps as night_steps
from genremill.jobs.nights.record import Night, State
from genremill.jobs.nights.steps import Config

REWRITES = {
    "ingest": "tracks",
    "extract": "features",
    "cluster": "genre_map",
    "train": "models",
    "evaluate": "reports",
    "score": "tags",
    "publish": "_generation.json",
}
"""What each step writes."""


@dataclass(frozen=True)
class Clips:
    """Audio to decode or copy, summed over all feature sets."""

    decode: int = 0
    size_bytes: int = 0
    copy: int = 0


@dataclass(frozen=True)
class PlannedStep:
    """A step that would run."""

    name: str
    cause: str
    writes: str
    core_hours: float | None
    """From the newest night in which the step ran; None if it never ran in this warehouse."""
    basis: str


def clips_to_decode(spark: SparkSession, work: command.Run, cfg: Config, from_table: bool) -> Clips:
    """Audio of the newest tracks, or of the table if `ingest` would run, that is not in the cache."""
    if not cfg.audio_roots:
        return Clips()
    from genremill.jobs.features import extraction  # here: numba takes long

    if from_table:
        tracks = _from_table(spark, work, cfg)
    else:
        tracks = extraction.with_audio(spark, work.warehouse, newest_tracks(work.warehouse))
    count = tracks.count() if tracks is not None else 0
    if tracks is None or not count:
        return Clips()
    with in_section("extract", cfg):
        sets = extraction.up_to_date(spark, work, night_steps.extract_settings(cfg), tracks, count).values()
    totals = zip(*((counts.decoded, counts.size_bytes, counts.copied) for counts in sets), strict=True)
    return Clips(*map(sum, totals))


def _from_table(spark: SparkSession, work: command.Run, cfg: Config) -> DataFrame | None:
    """(track_id, audio_uri, split) of the rows that have both; all tracks count as training tracks."""
    options = night_steps.ingest_settings(cfg)
    source = options.source
    if source.is_folder:
        newest = work.warehouse.newest("tracks")
        known = snapshots.read(spark, work.warehouse, newest) if newest else None
        files = audio_folder.without_metadata(spark, work, source, known)
        return files.withColumn("split", F.lit(Split.TRAIN.value))
    with in_section("ingest", cfg), reading(source):
        table = source_rows.open_table(spark, work, source, options)
        form = source_rows.understood(table, options).row_format
        if form.audio_uri is None:
            return None
        rows = typed_rows(table.rows, form, ())
    tracks = (
        rows.where(F.col("problem").isNull())
        .select("track_id", "audio_uri")
        .dropna()
        .groupBy("track_id")
        .agg(F.max("audio_uri").alias("audio_uri"))
    )
    return tracks.withColumn("split", F.lit(Split.TRAIN.value))


def planned(name: str, cause: str, amount: float | None, past: list[Night]) -> PlannedStep:
    """A step and its cost: that of its last run, or in proportion to the amount of its input."""
    steps = ((night, step) for night in past if (step := night.step(name)) and step.state is State.RAN)
    night, step = next(steps, (None, None))
    if night is None or step is None:
        return PlannedStep(name, cause, REWRITES[name], None, "it never ran here")
    core_seconds, before = step.seconds * night.cores, _amount(name, step.summary)
    basis = f"as in night {night.run_id}"
    if amount is not None and before:
        basis = f"{core_seconds / before:.3g} core seconds each, night {night.run_id}"
        core_seconds *= amount / before
    return PlannedStep(name, cause, REWRITES[name], core_seconds / 3600, basis)


def _amount(name: str, summary: dict[str, Any]) -> float | None:
    """The input of a step: bytes of the table or decoded clips; None for the other steps."""
    if name == "ingest":
        return summary.get("source_bytes")
    sets = summary.get("features", {}) if name == "extract" else {}
    return sum(counts["decoded"] for counts in sets.values()) or None


def as_text(table: storage.Inventory, clips: Clips, steps: list[PlannedStep], money: float | None) -> str:
    """The plan as text for a terminal; `money` is None without a price."""
    lines = [f"table: {table.files:,} files, {table.size_bytes:,} bytes"]
    if clips.decode or clips.copy:
        decoded = f"{clips.decode:,} clips to decode, {clips.size_bytes:,} bytes"
        lines.append(f"audio: {decoded}; {clips.copy:,} to copy")
    if not steps:
        return "\n".join([*lines, "nothing would run: nothing has changed"])
    lines.append(f"{'step':<10}{'core hours':>12}  {'writes':<20}why")
    for step in steps:
        hours = "unknown" if step.core_hours is None else f"{step.core_hours:.4f}"
        lines.append(f"{step.name:<10}{hours:>12}  {step.writes:<20}{step.cause}")
    known = [step.core_hours for step in steps if step.core_hours is not None]
    least = "at least " if len(known) < len(steps) else ""
    cost = "" if money is None else f", which cost {money:,.2f}"
    total = f"{least}{sum(known):.4f} core hours{cost}" if known else "unknown: no step ran here before"
    return "\n".join([*lines, f"in all: {total}"])
