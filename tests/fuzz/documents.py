"""Settings in YAML, JSON records of a warehouse, model cards, weights, and URIs."""

import contextlib
import functools
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from genremill.infra import lease, records, storage
from genremill.infra.audio import paths
from genremill.infra.audio.faults import AudioRejected
from genremill.infra.errors import DamagedRecord, UsageError
from genremill.infra.lease import Holder
from genremill.infra.pages.parts import Header
from genremill.infra.records import InnerPath
from genremill.infra.terminal import json_line, plain_lines
from genremill.infra.warehouse import Refusal, Warehouse
from genremill.jobs import flags, ingest, tables, vacuum
from genremill.jobs.command import Command, Common, Writing
from genremill.jobs.genres import sources
from genremill.jobs.nights import page as night_page, record as night_record
from genremill.models import artifact
from genremill.models.training.manifest import Manifest, ShardFile
from tests.fuzz.harness import Target, scratch
from tests.fuzz.mutations import TEXTS, Strategy, documents, mutated, texts
from tests.pure.generation_cases import published
from tests.pure.test_damaged_records import NIGHT, RESULT
from tests.pure.test_hostile_cards import CARD
from tests.pure.test_untrusted_models import saved

_YAML_PARTS = (
    *(
        "&a [*a]",
        "&a {x: *a}",
        "*b",
        "!!python/object:os.system x",
        "!!int 0x_",
        "!!timestamp 2026-13-45",
        "!!binary =",
    ),
    *(
        "!!set {a}",
        "!!omap [a]",
        "<<: *a",
        "? [a]\n: b",
        "{a: {b: {c: 1}}}",
        "[" * 500,
        "{a: " * 500,
        "- " * 500,
    ),
    *(
        "1_000:60:60",
        "1:99",
        "0o9",
        ".inf",
        ".nan",
        "0b" + "1" * 200,
        "9" * 200,
        "~",
        "|\n x",
        ">-\n x",
        "%YAML 9.9\n---\n",
    ),
    *(
        "---\n---\n",
        "...",
        "\t",
        "'\\x",
        '"\\uD800"',
        '"\\x"',
        "2026-11-29T99:99:99Z",
        "yes",
        "no",
        "@x",
        "`x",
        "=",
        "<<",
    ),
)
_CONFIG = """\
tracks: tracks.csv
audio-root: [/data/audio]
ingest:
  split: artist
  fractions: [0.8, 0.1, 0.1]
  limit: 5
  columns: {id: track_id, features: [tempo, energy], keep: []}
train: &x
  epochs: 3
publish: {max-churn: 0.3}
"""
_FLAT = "split: rows\nmax-missing: 0.5\nmissing: [NA, '-99']\ncolumns.id: id\nfractions: [0.5, 0.25, 0.25]\n"
_MAP = "rock: Rock\npop: 1\n'hip-hop': \"Hip Hop\"\n"
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(["artist", 0.5, 5])
)
_keys = (
    st.sampled_from(["split", "limit", "columns", "ingest", "id", "features", "missing", "max-missing"])
    | texts
)
_values = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(_keys, inner), max_leaves=12)


def _dumped(value: object) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")


def yaml_inputs() -> Strategy:
    seeds = [text.encode() for text in (_CONFIG, _FLAT, _MAP)]
    parts = [text.encode("utf-8", "surrogatepass") for text in (*_YAML_PARTS, *TEXTS)]
    whole = st.builds(_dumped, st.dictionaries(_keys, _values, max_size=6))
    return st.one_of(mutated(seeds, parts), mutated(seeds, parts), whole)


def read_yaml(data: bytes) -> None:
    """Reads a file as the settings of `ingest`, and as a map of genres."""
    path = scratch("yaml") / "settings.yaml"
    path.write_bytes(data)
    with contextlib.suppress(SystemExit, UsageError), contextlib.redirect_stderr(io.StringIO()):
        _, cfg = flags.parse(
            "ingest", None, ingest.Config, Writing, ["--warehouse=w", "--tracks=t", f"--config={path}"]
        )
        cfg.check()
    sources.read_map(str(path))


PLACES = (
    *("_generation.json", "tags/_current.json", "tracks/run=20260101T000001-000000/_run.json"),
    *("tags/run=20260101T000002-000000/_run.json", "tags/run=20260101T000001-000000/_refused.json"),
    *("reports/r1/run.json", "reports/r1/metrics.json", "_night.lock", "study/cell.json", "manifest.json"),
)
"""Records of a warehouse."""


@functools.cache
def _warehouse() -> tuple[Warehouse, dict[str, bytes]]:
    """A warehouse with two generations, and the valid records at `PLACES`."""
    warehouse = Warehouse.at(str(scratch("warehouse") / "wh"))
    for number in (1, 2):
        published(warehouse, number)
    night_record.keep(warehouse, NIGHT, "page")
    made = {
        "tags/run=20260101T000001-000000/_refused.json": Refusal("too much", "2026-01-01T00:00:00Z"),
        "reports/r1/run.json": NIGHT,
        "reports/r1/metrics.json": {"model_version": "m/1", "split": "artist", "top1": 0.4},
        "_night.lock": Holder.this_process("r1"),
        "study/cell.json": RESULT,
        "manifest.json": Manifest("d", {"table": 2}, (ShardFile("a.parquet", (2, 3)),)),
    }
    for place, record in made.items():
        storage.write_atomic(warehouse.path(place), records.to_json(record))
    return warehouse, {place: storage.read_bytes(warehouse.path(place)) for place in PLACES}


@st.composite
def record_inputs(draw: st.DrawFn) -> bytes:
    """The place of a record on the first line, and its damaged text."""
    place = draw(st.sampled_from(PLACES))
    return place.encode() + b"\n" + draw(_texts_of(place))


@functools.cache
def _texts_of(place: str) -> Strategy:
    return documents([_warehouse()[1][place]])


def read_record(data: bytes) -> None:
    """Runs the commands that read a record, with a damaged one in its place."""
    warehouse, whole = _warehouse()
    name, _, text = data.partition(b"\n")
    place = name.decode(errors="replace")
    if place not in whole:
        return
    path = storage.local_path(warehouse.path(place))
    path.write_bytes(text)
    try:
        _read_all(warehouse)
    finally:
        path.write_bytes(whole[place])


def _read_all(warehouse: Warehouse) -> None:
    for history in (False, True):
        _run(tables.main, Common(warehouse.uri), tables.Config(history=history))
    _run(vacuum.main, Writing(warehouse.uri, dry_run=True), vacuum.Config())
    nights = night_record.earlier(warehouse, "r9", most=5)
    night_page.render(NIGHT, nights, Header("r9", "2026-11-21 02:00 UTC", warehouse.uri, "no tracks yet"))
    night_record.report_of(warehouse, "m/1")
    str(lease.Lease(warehouse.path("_night.lock"), "r9")._read())
    for place, kind in (("study/cell.json", dict), ("manifest.json", Manifest)):
        found = records.from_json(storage.read_bytes(warehouse.path(place)), kind, place)
        assert records.from_json(records.to_json(found), kind, place) == found


@functools.cache
def _model() -> tuple[Path, bytes, bytes]:
    """The folder of a small model, its card with all fields, and its weights."""
    folder = scratch("model")
    saved(folder)
    own = json.loads((folder / "model.json").read_bytes())
    card = json.loads(CARD.to_json()) | {"sha256": own["sha256"]}
    return folder, json.dumps(card).encode(), (folder / "model.safetensors").read_bytes()


def read_card(data: bytes) -> None:
    """Loads a model with this card."""
    folder, _, weights = _model()
    (folder / "model.json").write_bytes(data)
    (folder / "model.safetensors").write_bytes(weights)
    artifact.load.cache_clear()
    artifact.load(f"file://{folder}")


def read_weights(data: bytes) -> None:
    """Loads a model with these weights, and a card that has their digest."""
    folder, card, _ = _model()
    record = json.loads(card) | {"sha256": hashlib.sha256(data).hexdigest()}
    (folder / "model.json").write_text(json.dumps(record))
    (folder / "model.safetensors").write_bytes(data)
    artifact.load.cache_clear()
    artifact.load(f"file://{folder}")


_ROOTS = [paths.parse_root("/data/audio"), paths.parse_root("s3://bucket/a")]
_HEADER = (
    b'"F64"',
    b'"BF16"',
    b"[1000000000,1000000000]",
    b"[-1]",
    b"[0]",
    b"[0,99999]",
    b'"data_offsets"',
    b"{}",
)
_URI_PARTS = (
    *(
        "file:",
        "file://",
        "file:///",
        "FILE:///",
        "s3://",
        "s3a://",
        "s3n://b",
        "hdfs://",
        "https://",
        "//",
        "///",
    ),
    *(
        "b",
        "bucket",
        "user:secret@host",
        "/",
        ".",
        "..",
        "/../",
        "/./",
        "~",
        "$HOME",
        "%2e%2e",
        "%2F",
        "%00",
        "%",
    ),
    *(
        "%zz",
        "%ff",
        "?X-Amz-Signature=1",
        "?versionId=1",
        "#x",
        "[::1]",
        ":",
        "\\",
        "*",
        "{a,b}",
        "a b",
        "é",
        "\0",
    ),
    *("\udcff", "\ud800", "\n", "name", "x" * 300, "a/" * 700, "run=1", "CON", "-", "--json", "\u202e"),
)


def uri_inputs() -> Strategy:
    parts = st.lists(st.sampled_from(_URI_PARTS) | texts, max_size=8)
    return st.builds(lambda found: "".join(found).encode("utf-8", "surrogatepass"), parts)


def read_uri(data: bytes) -> None:
    """Uses a text as the URI of a user, as a path in a record, and as the URI of an audio file."""
    text = os.fsdecode(data)
    with contextlib.suppress(AudioRejected):
        root, location = paths.locate(text, _ROOTS)
        assert root.holds(location)
        assert ".." not in location.parts
    with contextlib.suppress(DamagedRecord):
        name = records.from_json(json.dumps(text), InnerPath, "a path")
        assert storage.absolute_uri(f"/data/warehouse/{name}").startswith("file:///data/warehouse/")
    uri = _without_secrets(text)
    assert uri.startswith(("file:///", "s3a://"))
    if not storage.is_s3(uri):
        assert storage.local_path(uri).is_absolute()
        _run(tables.main, Common(text), tables.Config())


def _without_secrets(text: str) -> str:
    """The full URI; neither a URI of a store nor a message may have a password."""
    try:
        uri = storage.absolute_uri(text)
    except UsageError as err:
        if "://user:secret@" in text and "secret" in str(err):
            raise AssertionError("a message with a password") from err
        raise
    assert "://user:secret@" not in text
    return uri


def _run(job: Command[Any, Any], common: Common, config: object) -> None:
    """Runs a command that only reads, without its command line."""
    outcome = job.run(common, config)
    json_line(outcome.summary)
    plain_lines(outcome.text)


def targets() -> list[Target]:
    _, card, weights = _model()
    return [
        Target("yaml", yaml_inputs(), read_yaml, examples=600),
        Target("records", record_inputs(), read_record, examples=600),
        Target("model_cards", documents([card]), read_card, examples=600),
        Target("weights", mutated([weights], _HEADER), read_weights, examples=300),
        Target("uris", uri_inputs(), read_uri, examples=1000),
    ]
