"""Audits staged tags and makes them current, or refuses; also rolls back.

Reads: staged `tags`, `tracks`. Writes: `tags/_current.json`.

    spark-submit jobs/publish.py --warehouse file:///data/warehouse
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import SparkSession

from genremill.infra.errors import AuditRefused, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.session import spark_session
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import command, model_versions
from genremill.jobs.audits import Audit, churn, content_audits
from genremill.jobs.contracts import TAGS, ContractError
from genremill.models.model_card import read_card


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which tags become current, and how much may change at once."""

    run: str | None = None
    """Run of `tags` to publish [the newest staged]."""
    max_churn: float = 0.3
    """Greatest share of tracks whose tag changes while model, features and map stay the same."""
    max_churn_new: float = 0.75
    """The same, with a new model, new features or a new map."""
    rollback: bool = False
    """Make the snapshot before the current one current again."""


def staged(warehouse: Warehouse, run_id: str | None) -> Snapshot:
    """A complete run of `tags` by id, or the newest of those later than all that were ever current."""
    if run_id is not None:
        found = warehouse.finished("tags", run_id)
        if found is None:
            raise UsageError(f"--run {run_id}: no complete run of tags in {warehouse.uri} has this id")
        return found
    last = warehouse.last_published("tags")
    fresh = [one for one in warehouse.runs("tags") if one.run_id > last]
    if not fresh:
        raise UsageError(f"{warehouse.uri} has no staged tags: run `genremill score` first")
    tracks_run, current = fresh[-1].details["tracks_run"], warehouse.current("tracks")
    if current is not None and current.snapshot.run_id != tracks_run:
        raise UsageError(
            f"the staged tags of run {fresh[-1].run_id} are of the tracks of run {tracks_run}, but "
            f"{current.snapshot.run_id} is current: run `genremill score` again, or name them by --run"
        )
    return fresh[-1]


def audit(
    spark: SparkSession, warehouse: Warehouse, candidate: Snapshot, current: Current | None, cfg: Config
) -> list[Audit]:
    """All audits of staged tags."""
    path = warehouse.path(candidate.path)
    try:
        TAGS.checked_rows(spark, path)
    except ContractError as err:
        raise AuditRefused(f"tags of run {candidate.run_id} are refused: {err}; nothing has changed") from err
    tags = spark.read.parquet(path)
    tracks_run = warehouse.finished("tracks", candidate.details["tracks_run"])
    if tracks_run is None:
        raise UsageError(
            f"the tracks of run {candidate.details['tracks_run']}, which these tags tag, are gone"
        )
    tracks = spark.read.parquet(warehouse.path(tracks_run.path)).select("track_id")
    card = read_card(candidate.details["model"])
    audits = content_audits(tags, tracks, card.classes)
    if current is not None and current.snapshot.run_id != candidate.run_id:
        before = current.snapshot
        same = all(
            before.details[name] == candidate.details[name] for name in ("model_version", "genre_map_version")
        )
        limit = cfg.max_churn if same else cfg.max_churn_new
        audits.append(Audit("churn", churn(tags, spark.read.parquet(warehouse.path(before.path))), limit))
    return audits


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Audits and publishes the staged tags."""
    candidate = staged(work.warehouse, cfg.run)
    current = work.warehouse.current("tags")
    audits = audit(spark, work.warehouse, candidate, current, cfg)
    for one in audits:
        LOGGER.info("audit %s: %s", "passed" if one.passed else "FAILED", one)
    if failed := [str(one) for one in audits if not one.passed]:
        if not work.dry_run:
            _refuse_model(work.warehouse, candidate, current)
        raise AuditRefused(
            f"tags of run {candidate.run_id} are refused: {'; '.join(failed)}; nothing has changed"
        )
    summary = {
        "published": candidate.run_id,
        "rows": candidate.rows,
        "audits": {one.name: {"value": one.value, "limit": one.limit} for one in audits},
    }
    if work.dry_run:
        return command.Outcome(summary, f"dry run: tags of run {candidate.run_id} pass")
    work.warehouse.publish("tags", candidate, audited_against=current)
    model_versions.allow(work.warehouse, candidate.details["model_version"])
    return command.Outcome(summary, f"tags: run {candidate.run_id} is current, {candidate.rows:,} rows")


def _refuse_model(warehouse: Warehouse, refused: Snapshot, kept: Current | None) -> None:
    """Keeps `score` from taking a new model by itself whose tags were refused or rolled back."""
    version = refused.details["model_version"]
    if kept is not None and kept.snapshot.details["model_version"] != version:
        model_versions.refuse(warehouse, version, refused.run_id)


def roll_back(work: command.Run) -> command.Outcome:
    """Makes the snapshot before the current one current again; needs no Spark."""
    current = work.warehouse.current("tags")
    if current is None or not current.previous:
        raise UsageError(f"{work.warehouse.uri} has no earlier tags to go back to")
    target = current.previous[0]
    if work.warehouse.finished("tags", target.run_id) is None:
        raise UsageError(f"the earlier tags, run {target.run_id}, are gone from {work.warehouse.uri}")
    if not work.dry_run:
        _refuse_model(work.warehouse, current.snapshot, work.warehouse.roll_back("tags"))
    summary = {"published": target.run_id, "rolled_back": current.snapshot.run_id, "rows": target.rows}
    return command.Outcome(summary, f"tags: back to run {target.run_id}, {target.rows:,} rows")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""

    def job(work: command.Run, cfg: Config) -> command.Outcome:
        if cfg.rollback:
            return roll_back(work)
        with spark_session("genremill publish") as spark:
            return run(spark, work, cfg)

    return command.main("publish", __doc__, Config, job, argv)


if __name__ == "__main__":
    sys.exit(main())
