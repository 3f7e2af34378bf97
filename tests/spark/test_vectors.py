"""Columns of vectors: in the track table, or in a file of their own."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from genremill.infra.errors import ExitCode
from genremill.jobs import cli
from tests.spark.ingested import Ingested

TRACKS, WIDTH = 40, 4
VECTORS = [[number + place / 8 for place in range(WIDTH)] for number in range(TRACKS)]
FLAGS = ("--columns.vectors", "clap")


def write(folder: Path, name: str = "tracks.parquet", **columns: Any) -> str:
    """A table with the ids t0, t1, … and these columns."""
    rows = len(next(iter(columns.values())))
    ids = {"track_id": [f"t{number}" for number in range(rows)]}
    pq.write_table(pa.table(ids | columns), folder / name)
    return str(folder / name)


def catalog(**columns: Any) -> dict[str, Any]:
    artists = [f"Artist {number // 2}" for number in range(TRACKS)]
    return {"artists": artists, "track_genre": ["pop", "rock"] * (TRACKS // 2), **columns}


def vectors_of(ingested: Ingested) -> dict[str, dict[str, list[float]]]:
    return {name: row["vectors"] for name, row in ingested.rows().items()}


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.list_(number) for number in (pa.float32(), pa.float64(), pa.float16(), pa.int64())),
        pa.list_(pa.float32(), WIDTH),
        pa.large_list(pa.float32()),
        pa.list_(pa.decimal128(22, 2)),
    ],
    ids=str,
)
def test_lists_of_any_numbers_are_vectors(spark: SparkSession, tmp_path: Path, kind: pa.DataType) -> None:
    numbers = [[number, 2, 3, 4] for number in range(TRACKS)]
    values = np.array(numbers, np.float16 if pa.types.is_float16(kind.value_type) else np.int64)
    flat = pa.array(values.ravel()).cast(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        lists: pa.Array = pa.FixedSizeListArray.from_arrays(flat, WIDTH)
    else:
        offsets = pa.array(range(0, WIDTH * TRACKS + 1, WIDTH), pa.int32())
        lists = pa.ListArray.from_arrays(offsets, flat).cast(kind)
    ingested = Ingested(spark, tmp_path, write(tmp_path, **catalog(clap=lists)), *FLAGS)
    assert ingested.exit_code == 0
    assert vectors_of(ingested) == {f"t{n}": {"clap": numbers[n]} for n in range(TRACKS)}
    assert ingested.current.snapshot.details["vectors"] == [{"name": "clap", "width": WIDTH, "missing": 0.0}]
    assert ingested.uses()["clap"]["uses"] == ["vectors"]
    assert ingested.features == []


def test_a_track_may_lack_a_vector_and_has_several(spark: SparkSession, tmp_path: Path) -> None:
    clap = [None, [], *VECTORS[2:]]
    mert = [[1.0, 2.0]] * (TRACKS - 1) + [None]
    table = write(tmp_path, **catalog(clap=clap, **{"mert.v1": mert}))
    ingested = Ingested(spark, tmp_path, table, *FLAGS, "mert.v1")
    found = vectors_of(ingested)
    assert found["t0"] == found["t1"] == {"mert_v1": [1.0, 2.0]}
    assert found["t2"] == {"clap": VECTORS[2], "mert_v1": [1.0, 2.0]}
    assert found["t39"] == {"clap": VECTORS[39]}
    details = {each["name"]: each["missing"] for each in ingested.current.snapshot.details["vectors"]}
    assert details == {"clap": pytest.approx(2 / TRACKS), "mert_v1": pytest.approx(1 / TRACKS)}


def test_a_bad_vector_is_rejected_and_its_track_stays(spark: SparkSession, tmp_path: Path) -> None:
    bad = {
        0: ([1.0, 2.0], "wrong_length", "2 numbers; expected 4"),
        1: ([1.0, math.nan, 3.0, 4.0], "not_finite", "a number is NaN, infinite or missing"),
        2: ([1.0, math.inf, 3.0, 4.0], "not_finite", "a number is NaN, infinite or missing"),
        3: ([1.0, None, 3.0, 4.0], "not_finite", "a number is NaN, infinite or missing"),
        4: ([1.0, 1e300, 3.0, 4.0], "not_finite", "a number is NaN, infinite or missing"),
    }
    clap = [bad[number][0] if number in bad else VECTORS[number] for number in range(TRACKS)]
    ingested = Ingested(spark, tmp_path, write(tmp_path, **catalog(clap=clap)), *FLAGS)
    found = vectors_of(ingested)
    assert len(found) == TRACKS
    assert [found[f"t{number}"] for number in range(6)] == [{}] * 5 + [{"clap": VECTORS[5]}]
    expected = {f"t{number}": (reason, f"clap: {detail}") for number, (_, reason, detail) in bad.items()}
    assert ingested.rejects() == expected


def test_a_track_with_several_rows_has_one_reject(spark: SparkSession, tmp_path: Path) -> None:
    table = write(tmp_path, **catalog(clap=[[1.0], *VECTORS[1:]]))
    rows = pq.read_table(table)
    twice = rows.set_column(2, "track_genre", pa.array(["jazz"] * TRACKS))
    pq.write_table(pa.concat_tables([rows, twice]), table)
    ingested = Ingested(spark, tmp_path, table, *FLAGS)
    path = ingested.warehouse.run_path("rejects", ingested.current.snapshot.run_id)
    assert spark.read.parquet(path).count() == 1
    assert len(vectors_of(ingested)) == TRACKS


def test_vectors_of_a_file_belong_to_the_tracks_with_their_ids(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path, **catalog(mert=[[1.0, 2.0]] * TRACKS))
    ids = ["t5", "t5", "t5", "\tt6\u00a0", "unknown", None, "t7"]
    lists = [[1.0, 2.0], [1.0, 3.0], [math.nan, 9.0], [5.0, 5.0], [0.0, 0.0], [0.0, 0.0], None]
    pq.write_table(pa.table({"track_id": ids, "clap": lists, "note": ["x"] * 7}), tmp_path / "v.parquet")
    pq.write_table(pa.table({"track_id": ["t8"], "vggish": [[7.0]]}), tmp_path / "w.parquet")
    files = ("--vectors", str(tmp_path / "v.parquet"), str(tmp_path / "w.parquet"))
    ingested = Ingested(spark, tmp_path, table, "--columns.vectors", "mert", *files)
    assert ingested.exit_code == 0
    found = vectors_of(ingested)
    assert found["t5"] == {"mert": [1.0, 2.0], "clap": [1.0, 3.0]}
    assert found["t6"] == {"mert": [1.0, 2.0], "clap": [5.0, 5.0]}
    assert found["t7"] == found["t9"] == {"mert": [1.0, 2.0]}
    assert found["t8"] == {"mert": [1.0, 2.0], "vggish": [7.0]}
    assert "1 of its 4 ids are not in the track table" in capsys.readouterr().err


def test_ids_of_a_file_may_be_numbers(spark: SparkSession, tmp_path: Path) -> None:
    ids = {"song": [10 + number for number in range(TRACKS)]}
    pq.write_table(pa.table(catalog() | ids), tmp_path / "tracks.parquet")
    pq.write_table(pa.table({"song": [11.0, 12.0], "clap": [[1.0], [2.0]]}), tmp_path / "v.parquet")
    flags = ("--columns.id", "song", "--vectors", str(tmp_path / "v.parquet"))
    found = vectors_of(Ingested(spark, tmp_path, str(tmp_path / "tracks.parquet"), *flags))
    assert (found["11"], found["12"], found["13"]) == ({"clap": [1.0]}, {"clap": [2.0]}, {})


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"track_id": ["t1"], "clap": ["[1, 2]"]}, "expected a column 'track_id' with ids, and columns with"),
        ({"name": ["t1"], "clap": [[1.0]]}, "found: name (string), clap (array<double>)"),
        ({"track_id": ["x1"], "clap": [[1.0]]}, "none of its 1 ids is in the track table; it has: 'x1'"),
        ({"track_id": ["t1"], "mert": [[1.0]]}, "the track table has vectors of the name 'mert' too"),
        ({"track_id": ["t1"], "MERT": [[1.0]]}, "the track table has vectors of the name 'MERT' too"),
        ({"track_id": ["t1"], "a:b": [[1.0]], "a.b": [[1.0]]}, "would both be called 'a_b'"),
        (None, "expected a Parquet table; found CSV"),
    ],
)
def test_a_wrong_file_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: dict[str, Any] | None, message: str
) -> None:
    table = write(tmp_path, **catalog(mert=[[1.0, 2.0]] * TRACKS))
    if file is None:
        (tmp_path / "v").write_text("track_id,clap\nt1,2\n")
    else:
        pq.write_table(pa.table(file), tmp_path / "v")
    where = ("--warehouse", str(tmp_path / "warehouse"), "--tracks", table, "--columns.vectors", "mert")
    assert cli.main(["ingest", *where, "--vectors", str(tmp_path / "v")]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert message in error
    assert f"--vectors {tmp_path}/v" in error or f"--vectors file://{tmp_path}/v" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--columns.vectors", "track_genre"), "--columns.vectors track_genre: expected lists of numbers"),
        (("--columns.vectors", "nothing"), "no column for --columns.vectors nothing"),
        (("--columns.vectors", "clap", "clap"), "--columns.vectors names 'clap' twice"),
        (("--columns.vectors", "clap", "--columns.ignore", "clap"), "--columns.ignore clap: another flag"),
        (("--columns.vectors", "empty"), "vectors 'empty': no track has a valid one; rejected: none"),
        (("--columns.vectors", "broken"), "no track has a valid one; rejected: 40 not_finite"),
    ],
)
def test_a_wrong_column_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    broken, empty = [[math.nan]] * TRACKS, pa.nulls(TRACKS, pa.list_(pa.float32()))
    table = write(tmp_path, **catalog(clap=VECTORS, broken=broken, empty=empty))
    where = ("--warehouse", str(tmp_path / "warehouse"), "--tracks", table)
    assert cli.main(["ingest", *where, *flags]) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_vectors_of_another_length_are_refused_until_they_are_accepted(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Ingested(spark, tmp_path, write(tmp_path, **catalog(clap=VECTORS)), *FLAGS).exit_code == 0
    longer = write(tmp_path, **catalog(clap=[[*vector, 0.0] for vector in VECTORS]))
    refused = Ingested(spark, tmp_path, longer, *FLAGS)
    assert refused.exit_code == ExitCode.USAGE
    assert "'vectors:clap' was vectors of 4 values: they have 5 values now" in capsys.readouterr().err
    assert vectors_of(refused)["t1"] == {"clap": VECTORS[1]}
    none = Ingested(spark, tmp_path, longer)
    assert none.exit_code == ExitCode.USAGE
    assert "'vectors:clap' was vectors of 4 values: there are no vectors of this" in capsys.readouterr().err
    accepted = Ingested(spark, tmp_path, longer, *FLAGS, "--max-lost-columns", "1")
    assert vectors_of(accepted)["t1"] == {"clap": [*VECTORS[1], 0.0]}
    few = [[*vector, 0.0] for vector in VECTORS[:-3]] + VECTORS[-3:]
    minority = Ingested(spark, tmp_path, write(tmp_path, **catalog(clap=few)), *FLAGS)
    assert minority.exit_code == 0
    assert minority.rejects().keys() == {"t37", "t38", "t39"}
