"""The Python and SQL examples in the documentation run, on the tags of a small catalog."""

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyspark.sql import SparkSession

from genremill.jobs import cli
from tests.docs.documentation import Block, blocks, name_of, section

IN_DUCKDB = [
    block
    for block in blocks("sql")
    if block.page.name == "tables.md" and block.text in section("tables.md", "## Ten queries")
]
QUERIES = [
    block for block in blocks("sql") if "external_location" not in block.text and block not in IN_DUCKDB
]
"""The queries that Spark also supports."""


@pytest.fixture(scope="module")
def tagged(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose warehouse `wh` has current tags."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ready / "warehouse", folder / "wh")
    for job in ("score", "publish"):
        assert cli.main([job, "--warehouse", str(folder / "wh")]) == 0
    return folder


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_examples_read_the_tables(block: Block, tagged: Path, spark: SparkSession) -> None:
    names: dict[str, Any] = {}
    text = block.text.replace('"wh', f'"{tagged}/wh')  # Java has a working directory of its own
    exec(compile(text, name_of(block.page), "exec"), names)
    tags = names["tags"] if "tags" in names else spark.table("tags")
    assert _rows(tags) > 1500


def _rows(table: Any) -> int:
    return int(table.count()) if hasattr(table, "sparkSession") else len(table)


@pytest.mark.parametrize("block", QUERIES, ids=str)
def test_sql_examples_find_rows(block: Block, tagged: Path, spark: SparkSession) -> None:
    for table in ("tags", "genre_map"):
        (run,) = (tagged / "wh" / table).glob("run=*")
        spark.read.parquet(str(run)).createOrReplaceTempView(table)
    for query in filter(str.strip, block.text.split(";")):
        assert spark.sql(query).count() > 1


def test_there_are_ten_queries() -> None:
    assert len(IN_DUCKDB) == 10


@pytest.mark.parametrize("block", IN_DUCKDB, ids=str)
def test_the_ten_queries_find_rows_in_duckdb(block: Block, tagged: Path) -> None:
    with duckdb.connect() as database:
        tables = json.loads((tagged / "wh" / "_generation.json").read_text())["tables"]
        for name, table in tables.items():
            files = f"{tagged}/wh/{table['path']}/*.parquet"
            database.sql(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{files}')")
        assert len(database.sql(block.text)) >= 1
