"""Generated CSV, Parquet and Excel files, valid or not."""

import bz2
import gzip
import io
import zipfile
from decimal import Decimal

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.fuzz.mutations import MARKS, TEXTS, Strategy, encoded, mutated, mutations, texts

NAMES = (
    *("track_id", "track_name", "artists", "album_name", "track_genre", "popularity", "duration_ms", "tempo"),
    *("id", "title", "artist", "genre", "genres", "energy", "key", "year", "uri", "file", "Unnamed: 0"),
    *("explicit",),
)
"""Names of columns that have a meaning."""
CELLS = (
    *("t1", "t2", "Ada", "Ada; Bo", "['rock', 'pop']", "rock", "Rock", "hip-hop", "pop|rock", "0.5", "1"),
    *("-6.5",),
    *("120,5", "1.234,5", "50 %", "03:25", "PT3M5S", "203000", "2026-11-29", "True", "", "NA"),
    *("https://x/y.mp3",),
)
ENCODINGS = (
    "utf-8",
    "utf-8",
    "utf-8",
    "cp1252",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "latin-1",
    "cp437",
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_cells = st.sampled_from(CELLS) | st.sampled_from(CELLS) | texts
_names = st.sampled_from(NAMES) | st.sampled_from(NAMES) | texts


def _headers(width: int) -> st.SearchStrategy[list[str]]:
    """Names of columns, most of them different and with an id."""
    good = st.permutations(NAMES[1:]).map(lambda names: ["track_id", *names[: width - 1]])
    return st.one_of(good, good, good, st.lists(_names, min_size=width, max_size=width))


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """CSV files in many dialects, regular or not."""
    width = draw(st.integers(1, 8))
    delimiter = draw(st.sampled_from([",", ",", ";", "\t", "|", "^", "\0", "é"]))
    quote = draw(st.sampled_from(['"', '"', "'", "“", ""]))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"]))
    row = st.lists(_cells, min_size=width, max_size=width)
    rows = [draw(_headers(width))]
    rows += draw(st.lists(row | row | st.lists(_cells, max_size=12), max_size=12))
    rows += rows[1:] * draw(st.sampled_from([0, 0, 0, 1, 60]))
    mode = draw(st.sampled_from(["all", "none", "needed", "open"]))
    lines = [delimiter.join(_quoted(cell, quote, delimiter, mode) for cell in cells) for cells in rows]
    above = draw(
        st.sampled_from(["", "", "", f"sep={delimiter}{end}", f"A title{end}{end}", f"# comment{end}"])
    )
    return draw(st.sampled_from(MARKS)) + encoded(
        above + end.join(lines) + end, draw(st.sampled_from(ENCODINGS))
    )


def _quoted(cell: str, quote: str, delimiter: str, mode: str) -> str:
    is_special = any(sign in cell for sign in (quote or "\0", delimiter, "\n", "\r"))
    if mode == "none" or not quote or (mode == "needed" and not is_special):
        return cell
    if mode == "open":
        return quote + cell if is_special else cell
    return quote + cell.replace(quote, quote * 2) + quote


@st.composite
def packed(draw: st.DrawFn, files: Strategy) -> bytes:
    """Files, some of them packed."""
    data = draw(files)
    packing = draw(st.sampled_from(["none"] * 6 + ["gzip", "bzip2", "zip", "two"]))
    if packing == "gzip":
        return gzip.compress(data, 1, mtime=0)
    if packing == "bzip2":
        return bz2.compress(data, 1)
    if packing in ("zip", "two"):
        return zipped({"t.csv": data} | ({"u.csv": data} if packing == "two" else {}))
    return data


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def csv_inputs() -> Strategy:
    valid = [
        b"track_id,track_name,artists,track_genre,tempo\nt1,A,Ada;Bo,rock,120.5\nt2,B,Bo,pop,\n",
        'track_id;titre;durée\r\n1;"a;b""c"\r\n2;é\r\n'.encode("cp1252"),
        gzip.compress(b"id\ttempo\n1\t2\n", mtime=0),
        *(zipped({"a.csv": b"id,genre\n1,rock\n2,pop\n"}, method) for method in METHODS),
    ]
    values = [text.encode("utf-8", "surrogatepass") for text in TEXTS]
    files = csv_files()
    return st.one_of(
        packed(files), packed(files), mutations(packed(files), values, valid), mutated(valid, values)
    )


_INTS = [0, 1, -1, 2**31 - 1, 2**63 - 1, -(2**63)]
_FLOATS = [0.0, -0.0, 0.5, 120.5, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, 2.0**63]
_TEXT = st.sampled_from(CELLS) | st.sampled_from([text for text in TEXTS if text.isprintable()])
_COLUMNS: tuple[tuple[pa.DataType, st.SearchStrategy[object]], ...] = (
    (pa.string(), _TEXT),
    (pa.large_string(), _TEXT),
    (pa.dictionary(pa.int32(), pa.string()), _TEXT),
    (pa.int64(), st.sampled_from(_INTS)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint64(), st.sampled_from([0, 1, 2**63, 2**64 - 1])),
    (pa.float64(), st.sampled_from(_FLOATS)),
    (pa.float32(), st.sampled_from([*_FLOATS[:7], 3e38])),
    (pa.float16(), st.sampled_from([np.float16(0.5), np.float16("nan"), np.float16("inf")])),
    (pa.bool_(), st.booleans()),
    (pa.decimal128(38, 10), st.sampled_from([Decimal("1.5"), Decimal("-0")])),
    (pa.decimal256(76, 70), st.sampled_from([Decimal("1.5"), Decimal("1e-70")])),
    (pa.binary(), st.binary(max_size=8)),
    (pa.binary(16), st.binary(min_size=16, max_size=16)),
    (pa.timestamp("us"), st.sampled_from([0, -(2**62), 2**62])),
    (pa.timestamp("ns", "UTC"), st.sampled_from([0, 2**62])),
    (pa.date32(), st.sampled_from([0, -(2**31), 2**31 - 1])),
    (pa.time64("ns"), st.sampled_from([0, 86_399_999_999_999])),
    (pa.duration("us"), st.sampled_from([0, 2**62])),
    (pa.null(), st.none()),
    (pa.list_(pa.string()), st.lists(_TEXT | st.none(), max_size=3)),
    (pa.list_(pa.list_(pa.float16())), st.just([[np.float16(1)]])),
    (pa.struct([("name", pa.string()), ("x.y", pa.int64())]), st.just({"name": "rock", "x.y": 1})),
    (pa.list_(pa.struct([("title", pa.string())])), st.just([{"title": "rock"}, None])),
    (pa.map_(pa.string(), pa.int64()), st.just([("a", 1)])),
    (pa.struct([]), st.just({})),
)


@st.composite
def parquet_tables(draw: st.DrawFn) -> bytes:
    """Parquet files with columns of any type, some of which Spark does not know."""
    rows = draw(st.integers(0, 6))
    headers = st.integers(1, 6).flatmap(_headers)
    names = [name for name in draw(headers) if _is_unicode(name)]
    columns = [_column(draw, rows) for _ in names]
    if names and draw(st.sampled_from([True, False])):
        columns[0] = pa.array([f"t{number}" for number in range(rows)])
    table = pa.Table.from_arrays(columns, names=names)
    out = io.BytesIO()
    try:
        pq.write_table(table, out, compression="none", use_dictionary=draw(st.booleans()), row_group_size=4)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # Parquet has no such type
        return b"PAR1"
    return out.getvalue()


def _column(draw: st.DrawFn, rows: int) -> pa.Array:
    kind, values = draw(st.sampled_from(_COLUMNS))
    return pa.array([draw(values | st.none()) for _ in range(rows)], kind)


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def parquet_inputs() -> Strategy:
    files = parquet_tables()
    table = pa.table({"track_id": ["t1", "t2"], "tempo": [1.0, None], "artists": [["a"], ["b", "c"]]})
    out = io.BytesIO()
    pq.write_table(table, out)
    return st.one_of(files, files, mutations(files, (b"PAR1",), [out.getvalue()], least=1))


def _workbook() -> dict[str, bytes]:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["Songs"], ["id", "title", "tempo", "date"], [1, "A", 120.5, "x"], [2, "=1+1", None, True]):
        sheet.append(row)
    book.create_sheet("Other").append([1])
    out = io.BytesIO()
    book.save(out)
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


_XML = (
    *(b"<!DOCTYPE x [<!ENTITY a '" + b"x" * 1000 + b"'>]>", b"&a;", b"&#0;", b'r="A99999999"'),
    *(b'r="XFD1048576"', b't="s"'),
    *(b't="d"', b't="e"', b's="999"', b"<v>1e999</v>", b"<v>99999999999</v>", b"<c><c>"),
    *(b'ref="A1:XFD1048576"',),
    *(b"<v>-1</v>", b"<f>", b"<is><t>", b'numFmtId="14"', b'count="999999999"', b'r:id="rId9"'),
)


@st.composite
def excel_files(draw: st.DrawFn) -> bytes:
    """Workbooks in which the XML of one part is damaged."""
    parts = _workbook()
    name = draw(st.sampled_from(sorted(parts)))
    parts[name] = draw(mutations(st.just(parts[name]), _XML, [parts[name]]))
    removed = draw(st.none() | st.sampled_from(sorted(parts)))
    return zipped({part: data for part, data in parts.items() if part != removed})


def excel_inputs() -> Strategy:
    return st.one_of(excel_files(), mutations(excel_files(), (), [zipped(_workbook())], least=1))
