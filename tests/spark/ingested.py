"""One run of `ingest`, and what it wrote."""

from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from genremill.infra.warehouse import Current, Warehouse
from genremill.jobs import ingest


class Ingested:
    """The result of one run of `ingest`."""

    def __init__(self, spark: SparkSession, folder: Path, table: str, *flags: str) -> None:
        self.spark = spark
        self.warehouse = Warehouse.at(str(folder / "warehouse"))
        arguments = ["--warehouse", str(folder / "warehouse"), "--tracks", table, *flags]
        self.exit_code = ingest.main(arguments)

    @property
    def current(self) -> Current:
        current = self.warehouse.current("tracks")
        assert current is not None
        return current

    @property
    def tracks(self) -> DataFrame:
        return self.spark.read.parquet(self.warehouse.path(self.current.snapshot.path))

    @property
    def features(self) -> list[str]:
        """Names of the table features."""
        return [feature["name"] for feature in self.current.snapshot.details["features"]]

    def uses(self) -> dict[str, dict[str, Any]]:
        """What was understood of each column."""
        return {use["column"]: use for use in self.current.snapshot.details["columns"]}

    def rows(self) -> dict[str, Any]:
        return {row["track_id"]: row for row in self.tracks.collect()}

    def values(self, feature: str) -> dict[str, float | None]:
        """One feature of each track."""
        at = self.features.index(feature)
        return {name: row["table_features"][at] for name, row in self.rows().items()}

    def rejects(self) -> dict[str, tuple[str, str]]:
        path = self.warehouse.run_path("rejects", self.current.snapshot.run_id)
        return {row["key"]: (row["reason"], row["detail"]) for row in self.spark.read.parquet(path).collect()}
