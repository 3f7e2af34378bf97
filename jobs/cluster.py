"""Groups genres into clusters by the average features of their tracks.

Reads `tracks`, and `features` if an input is audio. Writes `genre_profiles` and `genre_map`. They become
current at the end; once tags are current, they become current together with the next tags that use them.

    spark-submit jobs/cluster.py --warehouse file:///data/warehouse --method consensus
"""

from pyspark.sql import SparkSession

from genremill.jobs import command
from genremill.jobs.genres.sources import ClusterInputs, Config, pairs_of_profiles, resolve


def run(spark: SparkSession, work: command.Run, inputs: ClusterInputs) -> command.Outcome:
    """Sums the profiles up in Spark, clusters them on the driver, and publishes the map."""
    from genremill.jobs.genres import clustering  # here: torch takes seconds

    tracks = inputs.features.usable_with_inputs(spark, work, inputs.read_tracks(spark))
    return clustering.fit(spark, work, inputs, pairs_of_profiles(tracks, inputs))


main = command.job("cluster", __doc__, Config, resolve, command.with_spark("cluster", run))

if __name__ == "__main__":
    raise SystemExit(main())
