"""Trains a model on the labeled tracks and writes a model version.

Reads `tracks`, `features` if an input is audio, and `genre_map` if there is one. Writes
`models/<name>/<version>/`.

    spark-submit jobs/train.py --warehouse file:///data/warehouse --workers 2
"""

from pyspark.sql import SparkSession

from genremill.jobs import command
from genremill.jobs.training.settings import Config
from genremill.jobs.training.sources import TrainingInputs, prepared, resolve


def run(spark: SparkSession, work: command.Run, inputs: TrainingInputs) -> command.Outcome:
    """Writes the training set, trains on it, and saves the best weights as a model version."""
    from genremill.jobs.training import run as training_run  # here: torch takes seconds

    data, sources = prepared(spark, work, inputs)
    if work.dry_run:
        return command.Outcome({"rows": data.rows}, f"dry run: nothing trained; pairs {data.rows}")
    return training_run.fit(spark, work, data, sources)


main = command.job("train", __doc__, Config, resolve, command.with_spark("train", run))

if __name__ == "__main__":
    raise SystemExit(main())
