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
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import command, model_registry
from genremill.jobs.audits import measure as audit_measure, page as audit_page
from genremill.jobs.audits.audit import NO_TAGS, OTHER_COUNT
from genremill.jobs.audits.measure import Limits
from genremill.jobs.contracts import TAGS, ContractError
from genremill.jobs.snapshot_details import TagsDetails
from genremill.models.model_card import read_card


@dataclass(frozen=True, kw_only=True)
class Config(Limits):
    """Which tags become current, and how much may change at once."""

    run: str | None = None
    """Run of `tags` to publish. [the newest staged run]"""
    rollback: bool = False
    """Make the previous snapshot of `tags` current again."""


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
    tracks_run, current = TagsDetails.of(fresh[-1]).tracks_run, warehouse.current("tracks")
    if current is not None and current.snapshot.run_id != tracks_run:
        raise UsageError(
            f"the staged tags of run {fresh[-1].run_id} are of the tracks of run {tracks_run}, but "
            f"{current.snapshot.run_id} is current: run `genremill score` again, or name them by --run"
        )
    return fresh[-1]


def ready(work: command.Run, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    cfg.check()
    if cfg.rollback:
        earlier(work.warehouse)
    else:
        staged(work.warehouse, cfg.run)
    return cfg


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Audits and publishes the staged tags."""
    cfg.check()
    warehouse = work.warehouse
    candidate = staged(warehouse, cfg.run)
    current = warehouse.current("tags")
    withdrawn = current.withdrew(candidate) if current and not cfg.run else None
    if withdrawn is not None:
        raise AuditRefused(
            f"the same tags, run {withdrawn.run_id}, were rolled back; nothing has changed. "
            f"`genremill publish --run {candidate.run_id}` publishes them all the same"
        )
    _keeps_contract(spark, warehouse, candidate)
    card = read_card(TagsDetails.of(candidate).model)
    findings, both = audit_measure.measure(spark, work, candidate, current, card, cfg)
    for one in findings.audits:
        (LOGGER.info if one.passed else LOGGER.warning)("audit %s: %s", one.verdict, one)
    summary = {"published": candidate.run_id, "rows": candidate.rows} | findings.as_json()
    if failed := [str(one) for one in findings.refused]:
        message = f"tags of run {candidate.run_id} are refused: {'; '.join(failed)}; nothing has changed"
        if work.dry_run:
            raise AuditRefused(message)
        if not any(one.name in (NO_TAGS, OTHER_COUNT) for one in findings.refused):
            _refuse_model(warehouse, candidate, current)
        report = audit_page.write(spark, work, candidate, card, findings, both)
        raise AuditRefused(f"{message}; see {report}", summary | {"published": None, "report": report})
    if work.dry_run:
        return command.Outcome(summary, f"dry run: tags of run {candidate.run_id} pass")
    warehouse.publish("tags", candidate, audited_against=current)
    model_registry.allow(warehouse, TagsDetails.of(candidate).model_version)
    return command.Outcome(summary, f"tags: run {candidate.run_id} is current, {candidate.rows:,} rows")


def _keeps_contract(spark: SparkSession, warehouse: Warehouse, candidate: Snapshot) -> None:
    try:
        TAGS.checked_rows(spark, warehouse.path(candidate.path))
    except ContractError as err:
        raise AuditRefused(f"tags of run {candidate.run_id} are refused: {err}; nothing has changed") from err


def _refuse_model(warehouse: Warehouse, refused: Snapshot, kept: Current | None) -> None:
    """Keeps `score` from taking a new model by itself whose tags were refused or rolled back."""
    version = TagsDetails.of(refused).model_version
    if kept is not None and TagsDetails.of(kept.snapshot).model_version != version:
        model_registry.refuse(warehouse, version, refused.run_id)


def earlier(warehouse: Warehouse) -> tuple[Snapshot, Snapshot]:
    """The current snapshot of `tags` and the one before it."""
    current = warehouse.current("tags")
    if current is None or not current.previous:
        raise UsageError(f"{warehouse.uri} has no earlier tags to go back to")
    target = current.previous[0]
    if warehouse.finished("tags", target.run_id) is None:
        raise UsageError(f"the earlier tags, run {target.run_id}, were removed from {warehouse.uri}")
    return current.snapshot, target


def roll_back(work: command.Run) -> command.Outcome:
    """Makes the previous snapshot of `tags` current again, without Spark."""
    current, target = earlier(work.warehouse)
    if not work.dry_run:
        _refuse_model(work.warehouse, current, work.warehouse.roll_back("tags"))
    summary = {"published": target.run_id, "rolled_back": current.run_id, "rows": target.rows}
    return command.Outcome(summary, f"tags: back to run {target.run_id}, {target.rows:,} rows")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    with_spark = command.with_spark("publish", run)

    def job(work: command.Run, cfg: Config) -> command.Outcome:
        return roll_back(work) if cfg.rollback else with_spark(work, cfg)

    return command.main("publish", __doc__, Config, job, argv, ready)


if __name__ == "__main__":
    sys.exit(main())
