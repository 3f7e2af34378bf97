"""Shows what `nightly` would do with the same flags and what it would cost, and changes nothing.

Reads the track table, the list of audio files, the warehouse and the records of earlier runs. Writes only
temporary files.

    genremill plan --warehouse file:///data/warehouse --tracks file:///data/tracks.csv --price-per-hour 0.05
"""

from dataclasses import asdict, dataclass
from typing import ClassVar

from pyspark.sql import SparkSession

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, ingest, nightly
from genremill.jobs.command import Common
from genremill.jobs.flags import in_section
from genremill.jobs.nights import estimates, record as night_record, steps as night_steps


@dataclass(frozen=True, kw_only=True)
class Config(night_steps.Config):
    """The flags of nightly, and a price."""

    main_flags: ClassVar[tuple[str, ...]] = (*night_steps.Config.main_flags, "price-per-hour")

    price_per_hour: float | None = None
    """Price of one core for one hour, to estimate the cost. [no estimate]"""


def ready(warehouse: Warehouse, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    if cfg.price_per_hour is not None and cfg.price_per_hour < 0:
        raise UsageError(f"--price-per-hour {cfg.price_per_hour:g}: expected 0 or more")
    nightly.ready(warehouse, cfg)
    return cfg


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Finds the steps that would run and estimates their cost."""
    table = cfg.source.inventory()
    night = night_steps.steps(spark, work, cfg)
    with in_section("ingest", cfg):
        from_table = night[0].due() is not None
    building = night_steps.building(work, ingest.inputs(night_steps.ingest_settings(cfg)))
    clips = estimates.clips_to_decode(spark, building, cfg, from_table)
    new = clips.decode + clips.copy
    known = {"extract": f"{new:,} clips are not in the cache" if new else None}
    reasons = night_steps.expected(night, cfg, known)
    amounts = {"ingest": float(table.size_bytes), "extract": float(clips.decode)}
    past = night_record.earlier(work.warehouse, most=50)
    steps = [estimates.planned(name, reason, amounts.get(name), past) for name, reason in reasons.items()]
    hours = [step.core_hours for step in steps if step.core_hours is not None]
    money = None if cfg.price_per_hour is None else sum(hours) * cfg.price_per_hour
    summary = {
        "table": {"files": table.files, "bytes": table.size_bytes},
        "clips": asdict(clips),
        "steps": [asdict(step) for step in steps],
        "core_hours": sum(hours),
        "complete": len(hours) == len(steps),
        "money": money,
    }
    return command.Outcome(summary, estimates.as_text(table, clips, steps, money))


main = command.job("plan", __doc__, Config, ready, command.with_spark("plan", run), Common, may_create=True)

if __name__ == "__main__":
    raise SystemExit(main())
