"""Removes old runs, leftovers of killed jobs and unfinished uploads.

Old runs are those of snapshot tables, models, reports and studies beyond --keep-runs. Without --yes, the job
only lists what it would remove. It keeps `features` and `rejects`, because every night needs them. It reads
the list of files and the pointer files, and starts no Spark.

    genremill vacuum --warehouse s3a://music/warehouse --yes
"""

import time
from dataclasses import dataclass

from genremill.infra import run_ids
from genremill.infra.errors import ExitCode, UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.retention.listing import Listing
from genremill.jobs.retention.removals import removable


@dataclass(frozen=True, kw_only=True)
class Config:
    """How much is kept."""

    keep_runs: int = 14
    """Number of newest runs of each table, versions of each model, reports and studies to keep."""
    min_age_hours: float = 24.0
    """Keep everything younger than this many hours, and runs that were current within that time."""
    yes: bool = False
    """Remove the files; without this flag, they are only listed."""


def ready(warehouse: Warehouse, cfg: Config) -> Config:
    """The settings; raises if they are wrong."""
    if cfg.keep_runs < 1:
        raise UsageError(f"--keep-runs {cfg.keep_runs}: expected 1 or more")
    if cfg.min_age_hours < 0:
        raise UsageError(f"--min-age-hours {cfg.min_age_hours:g}: expected 0 or more")
    return cfg


def run(work: command.Run, cfg: Config) -> command.Outcome:
    """Finds what can be removed, and removes it with `--yes`."""
    # A dry run has written nothing whose time could tell the clock of the storage.
    now_s = time.time() if work.dry_run else run_ids.taken_at_s(work.warehouse.uri)
    removals = removable(Listing.of(work.warehouse, cfg.min_age_hours, now_s), cfg.keep_runs)
    remove = cfg.yes and not work.dry_run
    if remove:
        removals = [removal.removed(work.warehouse) for removal in removals]
    errors = [removal.error for removal in removals if removal.error]
    size = sum(removal.size_bytes for removal in removals)
    summary = {
        "removed": remove and not errors,
        "size_bytes": size,
        "found": [removal.as_json() for removal in removals],
    }
    lines = [f"{removal.size_bytes:>15,} B  {removal.why:<34}{removal.path}" for removal in removals]
    closing = (
        _closing(len(removals), len(errors))
        if remove
        else f"can be removed with --yes ({len(removals)} items)"
    )
    text = "\n".join([*lines, f"{size:>15,} B  {closing}", *map(str, errors)])
    return command.Outcome(summary, text, max((error.exit_code for error in errors), default=ExitCode.DONE))


def _closing(found: int, left: int) -> str:
    return f"{found - left} removed" + (f", {left} not removed or not completely:" if left else "")


main = command.job("vacuum", __doc__, Config, ready, run)

if __name__ == "__main__":
    raise SystemExit(main())
