"""Shows what `nightly` would do with the same flags and what it would cost, and changes nothing.

Reads the track table, the list of audio files, the warehouse and the records of earlier runs. Writes only
temporary files.

    genremill plan --warehouse file:///data/warehouse --tracks file:///data/tracks.csv --price-per-hour 0.05
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.jobs import command, nightly
from genremill.jobs.catalog.columns import resolve, text
from genremill.jobs.catalog.table_reader import read_table, reading
from genremill.jobs.command import Common
from genremill.jobs.contracts import Split
from genremill.jobs.flags import in_section
from genremill.jobs.nights import record as night_record, steps as night_steps
from genremill.jobs.nights.record import Night, State

REWRITES = {
    "ingest": "tracks",
    "extract": "features",
    "cluster": "genre_map",
    "train": "models",
    "evaluate": "reports",
    "score": "tags",
    "publish": "tags/_current.json",
}
"""What each step writes."""


@dataclass(frozen=True, kw_only=True)
class Config(night_steps.Config):
    """The flags of nightly, and a price."""

    price_per_hour: float | None = None
    """Price of one core for one hour, to estimate the cost. [no estimate]"""


@dataclass(frozen=True)
class Clips:
    """Audio to decode, over all feature sets."""

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
    """By the newest night of this warehouse in which the step ran; None where there is none."""
    basis: str


def check(cfg: Config) -> None:
    """Raises on settings that are wrong for every warehouse."""
    nightly.check(cfg)
    if cfg.price_per_hour is not None and cfg.price_per_hour < 0:
        raise UsageError(f"--price-per-hour {cfg.price_per_hour:g}: expected 0 or more")


def ready(work: command.Run, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    check(cfg)
    nightly.ready(work, cfg)
    return cfg


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Finds out what would run, and reckons what it would take."""
    check(cfg)
    work = dataclasses.replace(work, dry_run=True)
    table = storage.inventory(storage.absolute_uri(cfg.tracks))
    night = night_steps.steps(spark, work, cfg)
    with in_section("ingest", cfg):
        from_table = night[0].due() is not None
    clips = _clips(spark, work, cfg, from_table)
    new = clips.decode + clips.copy
    known = {"extract": f"{new:,} clips are not in the cache" if new else None}
    reasons = dict(night_steps.expected(night, cfg, known))
    amounts = {"ingest": float(table.size_bytes), "extract": float(clips.decode)}
    past = night_record.earlier(work.warehouse, work.run_id, most=50)
    steps = [_planned(name, reason, amounts.get(name), past) for name, reason in reasons.items()]
    hours = [step.core_hours for step in steps if step.core_hours is not None]
    money = None if cfg.price_per_hour is None else sum(hours) * cfg.price_per_hour
    summary = {
        "table": {"files": table.files, "bytes": table.size_bytes},
        "clips": asdict(clips),
        "steps": [asdict(one) for one in steps],
        "core_hours": sum(hours),
        "complete": len(hours) == len(steps),
        "money": money,
    }
    return command.Outcome(summary, _text(table, clips, steps, money))


def _clips(spark: SparkSession, work: command.Run, cfg: Config, from_table: bool) -> Clips:
    """Audio that no feature set has; of the table itself where `tracks` is not what it says."""
    if not cfg.audio_root:
        return Clips()
    tracks = _from_table(spark, cfg) if from_table else _current(spark, work)
    count = tracks.count() if tracks is not None else 0
    if tracks is None or not count:
        return Clips()
    from genremill.jobs.features import extraction  # here: numba takes long

    with in_section("extract", cfg):
        found = extraction.up_to_date(spark, work, night_steps.extract_settings(cfg), tracks, count).values()
    return Clips(
        sum(one.decoded for one in found),
        sum(one.size_bytes for one in found),
        sum(one.copied for one in found),
    )


def _from_table(spark: SparkSession, cfg: Config) -> DataFrame | None:
    """(track_id, audio_uri, split) of the rows that name both; all as if in training, where most will be."""
    source, options = storage.absolute_uri(cfg.tracks), cfg.ingest
    raw = read_table(spark, source, options.delimiter, options.multiline)
    raw = raw.limit(options.limit) if options.limit else raw
    with reading(source):
        layout = resolve(raw, options.columns, f"--tracks {source}")
    if layout.audio_uri is None:
        return None
    pairs = raw.select(text(layout.id).alias("track_id"), text(layout.audio_uri).alias("audio_uri"))
    one_each = pairs.dropna().groupBy("track_id").agg(F.max("audio_uri").alias("audio_uri"))
    return one_each.withColumn("split", F.lit(Split.TRAIN.value))


def _current(spark: SparkSession, work: command.Run) -> DataFrame:
    from genremill.jobs.features import extraction  # here: numba takes long

    return extraction.with_audio(spark, work.warehouse, work.warehouse.require("tracks", "ingest --tracks …"))


def _planned(name: str, cause: str, amount: float | None, past: list[Night]) -> PlannedStep:
    """A step with what it would take: as long as the last time, or in proportion to what it works on."""
    for one in past:
        step = one.step(name)
        if step is None or step.state is not State.RAN:
            continue
        hours = step.seconds * one.cores / 3600
        before = _amount(name, step.summary)
        if amount is None or not before:
            return PlannedStep(name, cause, REWRITES[name], hours, f"as in night {one.run_id}")
        basis = f"{step.seconds * one.cores / before:.3g} core seconds each, night {one.run_id}"
        return PlannedStep(name, cause, REWRITES[name], hours * amount / before, basis)
    return PlannedStep(name, cause, REWRITES[name], None, "it never ran here")


def _amount(name: str, summary: dict[str, object]) -> float | None:
    """What a step worked on: bytes of the table, clips decoded; None for those that take what they take."""
    if name == "ingest":
        found = summary.get("source_bytes")
        return float(found) if isinstance(found, int | float) else None
    sets = summary.get("features")
    if name == "extract" and isinstance(sets, dict):
        return float(sum(one["decoded"] for one in sets.values())) or None
    return None


def _text(table: storage.Inventory, clips: Clips, steps: list[PlannedStep], money: float | None) -> str:
    lines = [f"table: {table.files:,} files, {table.size_bytes:,} bytes"]
    if clips.decode or clips.copy:
        lines.append(
            f"audio: {clips.decode:,} clips to decode, {clips.size_bytes:,} bytes; {clips.copy:,} to copy"
        )
    if not steps:
        return "\n".join([*lines, "nothing would run: nothing has changed"])
    lines.append(f"{'step':<10}{'core hours':>12}  {'writes':<20}why")
    for one in steps:
        hours = "unknown" if one.core_hours is None else f"{one.core_hours:.4f}"
        lines.append(f"{one.name:<10}{hours:>12}  {one.writes:<20}{one.cause}")
    total = sum(one.core_hours or 0.0 for one in steps)
    least = "at least " if any(one.core_hours is None for one in steps) else ""
    lines.append(
        f"{'in all':<10}{total:>12.4f}  {least}" + ("" if money is None else f"{money:,.2f} in money")
    )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main(
        "plan",
        __doc__,
        Config,
        command.with_spark("plan", run),
        argv,
        ready,
        Common,
        creates_warehouse=True,
    )


if __name__ == "__main__":
    sys.exit(main())
