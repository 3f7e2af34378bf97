"""Runs all steps in one Spark session: ingest, extract, cluster, train, evaluate, score, publish.

A step is skipped if its inputs and settings have not changed since its last run. Only one night runs in a
warehouse at a time. Writes a record of the night, `reports/<run_id>/run.json`, and a page, `night.html`.

    spark-submit jobs/nightly.py --warehouse file:///data/warehouse --tracks file:///data/tracks.csv
"""

from pyspark.sql import SparkSession

from genremill.infra import lease
from genremill.infra.audio.store import AudioStore
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, ingest, model_registry, score
from genremill.jobs.features import extraction_settings
from genremill.jobs.flags import in_section
from genremill.jobs.genres import sources as genre_sources
from genremill.jobs.nights import mlflow_export, notify, reasons, runner, steps as night_steps
from genremill.jobs.nights.steps import Config


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Runs the steps that have work to do and shows a sample of the tags."""
    steps = night_steps.steps(spark, work, cfg)
    if work.dry_run:
        causes = night_steps.expected(steps, cfg)
        text = "\n".join(f"{name} would run: {reason}" for name, reason in causes.items())
        would_run = dict.fromkeys(causes, "would run")
        return command.Outcome({"steps": would_run, "causes": causes}, text or "nothing would run")
    with lease.held(work.warehouse.path("_night.lease"), work.run_id) as held:
        return runner.run_and_record(spark, work, cfg, steps, held)


def ready(warehouse: Warehouse, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    if cfg.publish.rollback or cfg.publish.run:
        raise UsageError("--publish.rollback and --publish.run belong to `genremill publish`")
    mlflow_export.check(cfg.mlflow)
    notify.check(cfg.notify, cfg.notify_command)
    with in_section("ingest", cfg):
        ingest.ready(warehouse, night_steps.ingest_settings(cfg))
    if cfg.audio_roots:
        with in_section("extract", cfg):
            extraction_settings.check(night_steps.extract_settings(cfg))
    AudioStore(cfg.audio_roots)
    with in_section("score", cfg):
        score.check(cfg.score)
        if not cfg.trains:
            score.model_of(warehouse, cfg.score)
    if cfg.trains:
        with in_section("cluster", cfg):
            genre_sources.check(cfg.cluster)
        with in_section("train", cfg):
            reasons.check(cfg.train)
    with in_section("publish", cfg):
        cfg.publish.check()
        cfg.publish.opened(warehouse)
    with in_section("evaluate", cfg):
        for version in cfg.evaluate.model_version:
            model_registry.folder_of(warehouse, version)
    return cfg


main = command.job("nightly", __doc__, Config, ready, command.with_spark("nightly", run), may_create=True)

if __name__ == "__main__":
    raise SystemExit(main())
