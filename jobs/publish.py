"""Audits staged tags and makes them current, or refuses them; also rolls back.

Reads the staged and the current `tags`, their `tracks` and `features`. Writes `tags/_current.json`, or
`reports/<run_id>/audit.html` if it refuses the tags.

    spark-submit jobs/publish.py --warehouse file:///data/warehouse
"""

from dataclasses import dataclass

from pyspark.sql import SparkSession

from genremill.infra.errors import AuditRefused, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import command, model_registry, snapshots
from genremill.jobs.audits import findings as audit_findings, page as audit_page
from genremill.jobs.audits.audit import Limits, resolve
from genremill.jobs.audits.content import MISSING_TAGS, ROW_COUNT
from genremill.jobs.contracts import TAGS, ContractError
from genremill.jobs.snapshot_details import TagsDetails


@dataclass(frozen=True, kw_only=True)
class Config(Limits):
    """Which tags become current, and how much they may change."""

    run: str | None = None
    """Run of `tags` to publish. [the newest staged run]"""
    rollback: bool = False
    """Make the previous snapshot of `tags` current again."""


def staged(warehouse: Warehouse, run_id: str | None) -> Snapshot:
    """The complete run of `tags` with this id, or the newest run that was never current."""
    if run_id is not None:
        snapshot = warehouse.finished("tags", run_id)
        if snapshot is None:
            raise UsageError(f"--run {run_id}: no complete run of tags in {warehouse.uri} has this id")
        return snapshot
    last = warehouse.last_published("tags")
    unpublished = [run for run in warehouse.runs("tags") if run.run_id > last]
    if not unpublished:
        raise UsageError(f"{warehouse.uri} has no staged tags: run `genremill score` first")
    newest, tracks = unpublished[-1], warehouse.current("tracks")
    tracks_run = TagsDetails.of(newest).tracks_run
    if tracks is not None and tracks.snapshot.run_id != tracks_run:
        raise UsageError(
            f"the staged tags of run {newest.run_id} belong to the tracks of run {tracks_run}, but the "
            f"current tracks are of run {tracks.snapshot.run_id}: "
            f"run `genremill score` again, or publish these tags with --run {newest.run_id}"
        )
    return newest


def ready(warehouse: Warehouse, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    cfg.check()
    if cfg.rollback:
        earlier(warehouse)
    else:
        staged(warehouse, cfg.run)
    return cfg


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Audits the staged tags and publishes them."""
    candidate = staged(work.warehouse, cfg.run)
    current = work.warehouse.current("tags")
    if current and not cfg.run and (withdrawn := current.withdrew(candidate)):
        raise AuditRefused(
            f"the same tags were rolled back (run {withdrawn.run_id}); the current tags stay current. To "
            f"publish them nevertheless, run `genremill publish --run {candidate.run_id}`"
        )
    return _audit_and_publish(spark, work, cfg, candidate, current)


def _audit_and_publish(
    spark: SparkSession, work: command.Run, cfg: Config, candidate: Snapshot, current: Current | None
) -> command.Outcome:
    tags = snapshots.read(spark, work.warehouse, candidate)
    try:
        TAGS.checked_rows(tags, work.warehouse.path(candidate.path))
    except ContractError as err:
        raise AuditRefused(_refusal(candidate, str(err))) from err
    inputs = resolve(work.warehouse, candidate, current)
    findings, comparison = audit_findings.measure(spark, work, inputs, cfg)
    for audit in findings.audits:
        (LOGGER.info if audit.passed else LOGGER.warning)("audit %s: %s", audit.verdict, audit)
    summary = {"published": candidate.run_id, "rows": candidate.rows} | findings.as_json()
    if findings.refused:
        message = _refusal(candidate, "; ".join(map(str, findings.refused)))
        if work.dry_run:
            raise AuditRefused(message)
        if not any(audit.name in (MISSING_TAGS, ROW_COUNT) for audit in findings.refused):
            _refuse_model(work.warehouse, candidate, current)
        report = audit_page.write(spark, work, inputs, findings, comparison)
        raise AuditRefused(f"{message}; see {report}", summary | {"published": None, "report": report})
    if work.dry_run:
        return command.Outcome(summary, f"dry run: the tags of run {candidate.run_id} pass all audits")
    work.warehouse.publish("tags", candidate, audited_against=current)
    model_registry.allow(work.warehouse, TagsDetails.of(candidate).model_version)
    return command.Outcome(summary, f"tags: run {candidate.run_id} is current, {candidate.rows:,} rows")


def _refusal(candidate: Snapshot, why: str) -> str:
    return f"the tags of run {candidate.run_id} are refused: {why}; the current tags stay current"


def _refuse_model(warehouse: Warehouse, refused: Snapshot, kept: Current | None) -> None:
    """Marks a new model whose tags were refused or rolled back: `score` then uses it only if it is named."""
    version = TagsDetails.of(refused).model_version
    if kept is not None and TagsDetails.of(kept.snapshot).model_version != version:
        model_registry.refuse(warehouse, version, refused.run_id)


def earlier(warehouse: Warehouse) -> tuple[Snapshot, Snapshot]:
    """The current snapshot of `tags` and the one before it."""
    current = warehouse.current("tags")
    if current is None or not current.previous:
        raise UsageError(f"{warehouse.uri} has no earlier tags to roll back to")
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
    return command.Outcome(summary, f"tags: rolled back to run {target.run_id}, {target.rows:,} rows")


def _run(work: command.Run, cfg: Config) -> command.Outcome:
    return roll_back(work) if cfg.rollback else command.with_spark("publish", run)(work, cfg)


main = command.job("publish", __doc__, Config, ready, _run)

if __name__ == "__main__":
    raise SystemExit(main())
