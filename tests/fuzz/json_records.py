"""JSON records of a warehouse, model cards and weights."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from genremill.infra import lease, records, storage
from genremill.infra.lease import Holder
from genremill.infra.pages.parts import Header
from genremill.infra.terminal import json_line, plain_lines
from genremill.infra.warehouse import Refusal, Warehouse
from genremill.jobs import tables, vacuum
from genremill.jobs.command import Command, Common, Writing
from genremill.jobs.nights import page as night_page, record as night_record
from genremill.models import artifact
from genremill.models.training.manifest import Manifest, ShardFile
from tests.fuzz.harness import Target, scratch
from tests.fuzz.mutations import Strategy, documents, mutated
from tests.pure.generation_cases import published
from tests.pure.test_damaged_records import NIGHT, RESULT
from tests.pure.test_hostile_cards import CARD
from tests.pure.test_untrusted_models import saved

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
        run_reading(tables.main, Common(warehouse.uri), tables.Config(history=history))
    run_reading(vacuum.main, Writing(warehouse.uri, dry_run=True), vacuum.Config())
    nights = night_record.earlier(warehouse, most=5)
    night_page.render(NIGHT, nights, Header("r9", "2026-11-21 02:00 UTC", warehouse.uri, "no tracks yet"))
    night_record.report_of(warehouse, "m/1")
    str(lease.holder_of(warehouse.path("_night.lock")))
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


def run_reading(job: Command[Any, Any], common: Common, config: object) -> None:
    """Runs a command that only reads, without its command line."""
    outcome = job.run(common, config)
    json_line(outcome.summary)
    plain_lines(outcome.text)


def targets() -> list[Target]:
    _, card, weights = _model()
    return [
        Target("records", record_inputs(), read_record, examples=600),
        Target("model_cards", documents([card]), read_card, examples=600),
        Target("weights", mutated([weights], _HEADER), read_weights, examples=300),
    ]
