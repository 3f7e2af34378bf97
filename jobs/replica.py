"""Writes a large catalog that repeats a real one with changes, to test performance.

A copy of a track has its own id, title and artists, and features that differ by up to 5 %. It keeps the
labels of its original. The tracks of a recording stay together in each copy, so a track has as many labels,
and a recording as many tracks, as in the real table. One artist in eight appears in 16 copies of the table,
because in large catalogs some artists have many tracks.

    genremill replica --tracks tracks.csv --count 10000000 --out build/replica
"""

import tempfile

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.session import spark_session
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.synthetic.replication import Options, read_original, transform


def run(common: command.NoFlags, options: Options) -> command.Outcome:
    """Writes the copies."""
    if options.count < 1 or not 0 <= options.skew <= 1:
        raise UsageError(
            f"--count {options.count} --skew {options.skew}: expected 1 or more, and a share of 0 to 1"
        )
    with spark_session("genremill replica") as spark, tempfile.TemporaryDirectory() as scratch:
        original = read_original(spark, command.Run(Warehouse.at(scratch), "replica"), options)
        number_of_copies = -(-options.count // original.tracks)
        copies = spark.range(0, number_of_copies, 1, number_of_copies).withColumnRenamed("id", "_copy")
        transform(original, copies, options).write.parquet(storage.absolute_uri(options.out))
    return command.Outcome({})


main = command.Command("replica", __doc__, Options, run, command.NoFlags)

if __name__ == "__main__":
    raise SystemExit(main())
