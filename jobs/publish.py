"""Audits staged tags and makes them current with their tracks and genre map, or refuses; also rolls back.

Reads the staged and the current `tags`, their `tracks` and `features`. Writes `_generation.json` and the
pointers of the tables, or `reports/<run_id>/audit.html` if it refuses the tags.

    spark-submit jobs/publish.py --warehouse file:///data/warehouse
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from genremill.infra.errors import AuditRefused, StorageError, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import command, model_registry, snapshots
from genremill.jobs.audits import findings as audit_findings, page as audit_page
from genremill.jobs.audits.audit import Limits, Verdict, has_other_model, resolve
from genremill.jobs.audits.content import MISSING_TAGS, ROW_COUNT
from genremill.jobs.contracts import TAGS, ContractError
from genremill.jobs.generations import members
from genremill.jobs.lakehouse import following, tag_changes
from genremill.jobs.lakehouse.following import Format, Formats
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES, TagsDetails


@dataclass(frozen=True, kw_only=True)
class Config(Limits, Formats):
    """Which tags become current, and how much they may change."""

    run: str | None = None
    """Run of `tags` to publish. [the newest staged run]"""
    rollback: bool = False
    """Make the earlier tags current again, together with their tracks and genre map."""


def staged(warehouse: Warehouse, run_id: str | None) -> Snapshot:
    """The complete run of `tags` with this id, or the newest run that was never current."""
    if run_id is not None:
        snapshot = warehouse.finished("tags", run_id)
        if snapshot is None:
            raise UsageError(f"--run {run_id}: no complete run of tags in {warehouse.uri} has this id")
        return snapshot
    unpublished = _unpublished(warehouse)
    if not unpublished:
        raise UsageError(f"{warehouse.uri} has no staged tags: run `genremill score` first")
    newest, tracks = unpublished[-1], warehouse.newest("tracks")
    tracks_run = TagsDetails.of(newest).tracks_run
    if tracks is not None and tracks.run_id > tracks_run:
        raise UsageError(
            f"the staged tags of run {newest.run_id} belong to the tracks of run {tracks_run}, but the "
            f"newest tracks are of run {tracks.run_id}: "
            f"run `genremill score` again, or publish these tags with --run {newest.run_id}"
        )
    return newest


def _unpublished(warehouse: Warehouse) -> list[Snapshot]:
    """The complete runs of `tags` that are newer than every run that was current, oldest first."""
    last = warehouse.last_published("tags")
    return [run for run in warehouse.runs("tags") if run.run_id > last]


@dataclass(frozen=True)
class Request:
    """A publication or a rollback that can start."""

    cfg: Config
    formats: Sequence[Format]
    is_interrupted: bool
    """Whether an earlier run of the same command ended before the pointers of all tables had followed, or
    before they were committed in another format."""


def ready(warehouse: Warehouse, cfg: Config) -> Request:
    """The request; raises on all errors that can be seen without Spark."""
    cfg.check()
    formats = cfg.opened(warehouse)
    if _is_interrupted(warehouse, cfg, formats):
        return Request(cfg, formats, is_interrupted=True)
    if cfg.rollback:
        earlier(warehouse)
    else:
        staged(warehouse, cfg.run)
    return Request(cfg, formats, is_interrupted=False)


def repair(warehouse: Warehouse, cfg: Config) -> None:
    """Sets damaged pointers aside, if the user names a complete run to publish instead."""
    if cfg.run and warehouse.finished("tags", cfg.run):
        warehouse.set_aside_damaged(*SNAPSHOT_TABLES)


def _is_interrupted(warehouse: Warehouse, cfg: Config, formats: Sequence[Format]) -> bool:
    generation = warehouse.generation()
    if generation is None or generation.is_rollback != cfg.rollback:
        return False
    if not (warehouse.lagging() or following.lags(warehouse, formats)):
        return False
    return cfg.run == generation.tags.run_id if cfg.run else cfg.rollback or not _unpublished(warehouse)


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Audits the staged tags and publishes them."""
    formats = cfg.opened(work.warehouse)
    if not work.dry_run:
        members.upgrade(work.warehouse)
        _follow_earlier(work.warehouse, formats)
    candidate = staged(work.warehouse, cfg.run)
    current = work.warehouse.current("tags")
    if current and not cfg.run and (withdrawn := current.withdrew(candidate)):
        raise AuditRefused(
            f"the same tags were rolled back (run {withdrawn.run_id}); the current tags stay current. To "
            f"publish them nevertheless, run `genremill publish --run {candidate.run_id}`"
        )
    return _audit_and_publish(spark, work, cfg, formats, candidate, current)


def _follow_earlier(warehouse: Warehouse, formats: Sequence[Format]) -> None:
    """Makes the commits that an earlier run has left. If they fail, the new tags are published anyway."""
    try:
        following.follow(warehouse, formats)
    except StorageError as err:
        LOGGER.warning("the commits of the current generation are still missing: %s", err)


def _audit_and_publish(
    spark: SparkSession,
    work: command.Run,
    cfg: Config,
    formats: Sequence[Format],
    candidate: Snapshot,
    current: Current | None,
) -> command.Outcome:
    tags = snapshots.read(spark, work.warehouse, candidate)
    try:
        TAGS.checked_rows(tags, work.warehouse.path(candidate.path))
    except ContractError as err:
        if not work.dry_run:
            work.warehouse.refuse("tags", candidate.run_id, str(err))
        raise AuditRefused(_refusal(candidate, str(err))) from err
    inputs = resolve(work.warehouse, candidate, current)
    findings, comparison = audit_findings.measure(spark, work, inputs, cfg)
    for audit in findings.audits:
        (LOGGER.info if audit.passed else LOGGER.warning)("audit %s: %s", audit.verdict, audit)
    summary = {"published": candidate.run_id, "rows": candidate.rows} | findings.as_json()
    if findings.refused:
        why = "; ".join(map(str, findings.refused))
        message = _refusal(candidate, why)
        if work.dry_run:
            raise AuditRefused(message)
        if any(audit.name in (MISSING_TAGS, ROW_COUNT) for audit in findings.refused):
            work.warehouse.refuse("tags", candidate.run_id, why)
        elif any(audit.verdict is Verdict.REFUSED for audit in findings.refused):
            _refuse(work.warehouse, candidate, why)
            _refuse_model(work.warehouse, candidate, current.snapshot if current else None)
        report = audit_page.write(spark, work, inputs, findings, comparison)
        raise AuditRefused(f"{message}; see {report}", summary | {"published": None, "report": report})
    if work.dry_run:
        return command.Outcome(summary, f"dry run: the tags of run {candidate.run_id} pass all audits")
    tables = members.generation_of(work.warehouse, candidate)
    changes = tag_changes.write(spark, work, candidate, current.snapshot if current else None)
    work.warehouse.publish_together(tables, work.run_id, audited_against=current)
    summary["tables"] = {table: snapshot.run_id for table, snapshot in tables.items()}
    summary["changed_labels"] = changes.rows
    model_registry.allow(work.warehouse, TagsDetails.of(candidate).model_version)
    summary |= following.follow(work.warehouse, formats)
    return command.Outcome(summary, f"tags: run {candidate.run_id} is current, {candidate.rows:,} rows")


def _refusal(candidate: Snapshot, why: str) -> str:
    return f"the tags of run {candidate.run_id} are refused: {why}; the current tags stay current"


def _refuse(warehouse: Warehouse, refused: Snapshot, why: str) -> None:
    """Marks the tags, and the staged tracks and genre map that they were made from."""
    current = warehouse.all_current(*SNAPSHOT_TABLES)
    for table, snapshot in members.named_by(warehouse, refused).items():
        if table not in current or current[table].snapshot.run_id != snapshot.run_id:
            warehouse.refuse(table, snapshot.run_id, why)


def _refuse_model(warehouse: Warehouse, refused: Snapshot, kept: Snapshot | None) -> None:
    """Marks a new model whose tags were refused or rolled back: `score` then uses it only if it is named."""
    if kept is not None and has_other_model(refused, kept):
        model_registry.refuse(warehouse, TagsDetails.of(refused).model_version, refused.run_id)


def earlier(warehouse: Warehouse) -> tuple[Snapshot, Snapshot]:
    """The current snapshot of `tags` and the one before it; raises if what belongs to it was removed."""
    generation = members.recorded(warehouse)
    if generation is None or not generation.previous:
        raise UsageError(f"{warehouse.uri} has no earlier tags to roll back to")
    target = generation.previous[0]
    runs = {"tracks": TagsDetails.of(target.tags).tracks_run}
    runs |= {table: snapshot.run_id for table, snapshot in target.tables.items()}
    removed = [f"{table}, run {run}" for table, run in runs.items() if not warehouse.finished(table, run)]
    if removed:
        raise UsageError(
            f"the earlier tags, run {target.tags.run_id}, cannot become current again: these runs were "
            f"removed from {warehouse.uri}: {'; '.join(removed)}"
        )
    return generation.tags, target.tags


def roll_back(work: command.Run, formats: Sequence[Format] = ()) -> command.Outcome:
    """Makes the earlier tags current again with their tracks and genre map, without Spark."""
    current, target = earlier(work.warehouse)
    if not work.dry_run:
        members.upgrade(work.warehouse)
        _refuse_model(work.warehouse, current, target)  # first: a retry must not go back twice
        tag_changes.invert(work, current, target)
        work.warehouse.roll_back(work.run_id)
    summary: dict[str, Any] = {"published": target.run_id, "rolled_back": current.run_id, "rows": target.rows}
    if not work.dry_run:
        summary |= following.follow(work.warehouse, formats)
    return command.Outcome(summary, f"tags: rolled back to run {target.run_id}, {target.rows:,} rows")


def catch_up(work: command.Run, formats: Sequence[Format]) -> command.Outcome:
    """Commits what an earlier run has left; the pointers have followed by now."""
    current = members.recorded(work.warehouse)
    summary: dict[str, Any] = {"published": current.tags.run_id, "rows": current.tags.rows} if current else {}
    if work.dry_run and following.lags(work.warehouse, formats):
        return command.Outcome(summary, "dry run: missing commits would be made")
    commits = {} if work.dry_run else following.follow(work.warehouse, formats)
    done = ", ".join(f"{name}: {', '.join(tables)}" for name, tables in commits.items())
    text = f"completed what an earlier run has left: {done}" if done else "nothing was left to do"
    return command.Outcome(summary | commits, f"tags: run {summary.get('published')} is current; {text}")


def _run(work: command.Run, request: Request) -> command.Outcome:
    if request.is_interrupted:
        return catch_up(work, request.formats)
    if request.cfg.rollback:
        return roll_back(work, request.formats)
    return command.with_spark("publish", run)(work, request.cfg)


main = command.job("publish", __doc__, Config, ready, _run, repair=repair)

if __name__ == "__main__":
    raise SystemExit(main())
