"""Reads audio files, decodes them in a sandbox, and adds their feature vectors to the table `features`.

Reads `tracks` and audio under --audio-root. Writes `features` and `rejects`.

    spark-submit jobs/extract.py --warehouse file:///data/warehouse --audio-root file:///data/audio
"""

from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

from genremill.infra.audio.store import AudioStore
from genremill.infra.errors import ExitCode, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.features.extraction_settings import Config, check
from genremill.jobs.job_inputs import newest_tracks

if TYPE_CHECKING:  # these import numba, which takes long
    from genremill.jobs.features.set_extraction import ExtractionCounts


def ready(warehouse: Warehouse, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    check(cfg)
    AudioStore(cfg.audio_root)
    warehouse.require("tracks", "ingest --tracks …")
    return cfg


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Extracts the missing features of each feature set."""
    from genremill.jobs.features import extraction  # here: numba takes long

    snapshot = newest_tracks(work.warehouse)
    tracks = extraction.with_audio(spark, work.warehouse, snapshot)
    count = tracks.count()
    if not count:
        hint = "`ingest --columns.audio-uri` names their column"
        raise UsageError(f"no track of run {snapshot.run_id} has an audio path: {hint}")
    counts = extraction.up_to_date(spark, work, cfg, tracks, count)
    return _outcome(counts, work.dry_run, cfg.max_rejects)


def _outcome(by_set: "dict[str, ExtractionCounts]", dry_run: bool, max_rejects: float) -> command.Outcome:
    over = {name: counts for name, counts in by_set.items() if counts.rejects_share > max_rejects}
    for name, counts in over.items():
        LOGGER.warning(
            f"{name}: {counts.without:,} of {counts.tracks:,} tracks with audio have no features, "
            f"{100 * counts.rejects_share:.1f} %: more than --max-rejects {max_rejects:g}"
        )
    lines = [
        f"{name}: {counts.decoded:,} clips {'to decode' if dry_run else 'decoded'}, "
        f"{counts.copied:,} copied, "
        f"{counts.tracks - counts.without:,} of {counts.tracks:,} tracks with audio have features"
        + (" now" if dry_run else f"; newly rejected: {counts.rejected or 'none'}")
        for name, counts in by_set.items()
    ]
    summary = {
        name: vars(counts) | {"rejects_share": counts.rejects_share} for name, counts in by_set.items()
    }
    code = ExitCode.REJECTS_OVER_LIMIT if over and not dry_run else ExitCode.DONE
    idle = not any(counts.decoded or counts.copied or counts.rejected for counts in by_set.values())
    return command.Outcome({"features": summary}, "\n".join(lines), code, idle)


main = command.job("extract", __doc__, Config, ready, command.with_spark("extract", run))

if __name__ == "__main__":
    raise SystemExit(main())
