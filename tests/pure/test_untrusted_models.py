"""Untrusted models: only weights that match their card are loaded, and pickles are never opened."""

import enum
import hashlib
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import pytest
import safetensors.torch
import torch
from torch import Tensor

from genremill.infra.errors import UsageError
from genremill.models import artifact, zoo
from genremill.models.encoders.table import TableEncoder
from genremill.models.features import FeatureSpec, Scaling
from genremill.models.model_card import ModelCard
from genremill.models.recipe import Size

FEATURES = (FeatureSpec("tempo", False), FeatureSpec("energy", False))
Edit = Callable[[dict[str, Any]], object]


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


class _Watch:
    """Records the files that Python opens and the names that pickles look up, while `seen` is a list."""

    def __init__(self) -> None:
        self.seen: list[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.seen is not None and event in ("open", "pickle.find_class"):
            self.seen.append(f"{event} {arguments[0]}")


_WATCH = _Watch()  # an audit hook cannot be removed


@pytest.fixture
def seen() -> Iterator[list[str]]:
    """What the test has opened and unpickled so far."""
    found: list[str] = []
    _WATCH.seen = found
    yield found
    _WATCH.seen = None


def saved(folder: Path, model: str = "linear") -> str:
    """A model of two features and three classes, as genremill writes one."""
    torch.manual_seed(0)
    entry = zoo.entry(model)
    encoder = TableEncoder.fit(torch.randn(20, 2).numpy(), FEATURES, entry.scaling)
    size = Size(width=8, depth=1)
    card = ModelCard(model, ("a", "b", "c"), FEATURES, size, 0, "genre", False, clusters={}, genre_map={})
    artifact.save(f"file://{folder}", card, entry.build(encoder, 3, size).state_dict())
    return f"file://{folder}"


def with_card(folder: Path, edit: Edit) -> str:
    """The same model with an edited card."""
    uri = saved(folder)
    record = json.loads((folder / "model.json").read_text())
    edit(record)
    (folder / "model.json").write_text(json.dumps(record))
    return uri


def with_weights(folder: Path, data: bytes) -> str:
    """The same model with other weights; the card has their sha256."""
    return with_card_of(folder, data, hashlib.sha256(data).hexdigest())


def with_card_of(folder: Path, data: bytes, sha256: str) -> str:
    uri = with_card(folder, lambda record: record.update(sha256=sha256))
    (folder / "model.safetensors").write_bytes(data)
    return uri


def test_a_valid_model_is_loaded(tmp_path: Path) -> None:
    assert artifact.load(with_card(tmp_path, lambda record: None))


class Pickler(enum.Enum):
    """The library that writes and reads a pickle."""

    PYTHON = enum.auto()
    TORCH = enum.auto()
    JOBLIB = enum.auto()

    def dump(self, file: Path, payload: Payload) -> None:
        match self:
            case Pickler.PYTHON:
                file.write_bytes(pickle.dumps(payload))
            case Pickler.TORCH:
                torch.save(payload, file)
            case Pickler.JOBLIB:
                joblib.dump(payload, file)

    def load(self, file: Path) -> None:
        match self:
            case Pickler.PYTHON:
                pickle.loads(file.read_bytes())
            case Pickler.TORCH:
                torch.load(file, weights_only=False)
            case Pickler.JOBLIB:
                joblib.load(file)


PICKLES = [
    ("model.pkl", Pickler.PYTHON),
    ("model.pt", Pickler.TORCH),
    ("model.pth", Pickler.TORCH),
    ("pytorch_model.bin", Pickler.TORCH),
    ("model.joblib", Pickler.JOBLIB),
]


@pytest.mark.parametrize(("name", "pickler"), PICKLES)
@pytest.mark.parametrize("given", ["the file", "its folder"])
def test_a_pickle_is_rejected_without_opening_it(
    tmp_path: Path, seen: list[str], name: str, pickler: Pickler, given: str
) -> None:
    marker, folder = tmp_path / "unpickled", tmp_path / "model"
    folder.mkdir()
    pickler.dump(folder / name, Payload(marker))
    seen.clear()
    with pytest.raises(UsageError, match=r"pickles \(.pt, .pth, .joblib\) are never opened"):
        artifact.load(f"file://{folder / name if given == 'the file' else folder}")
    assert [one for one in seen if name in one or one.startswith("pickle")] == []
    assert not marker.exists()
    pickler.load(folder / name)
    assert marker.exists(), "the pickle does no harm"
    assert [one for one in seen if name in one], "the watch does not see what is opened"


@pytest.mark.parametrize(("name", "pickler"), PICKLES)
def test_a_pickle_beside_a_model_is_not_opened(
    tmp_path: Path, seen: list[str], name: str, pickler: Pickler
) -> None:
    uri = saved(tmp_path / "model")
    pickler.dump(tmp_path / "model" / name, Payload(tmp_path / "unpickled"))
    seen.clear()
    artifact.load(uri)
    assert [one for one in seen if name in one or one.startswith("pickle")] == []


@pytest.mark.parametrize(("name", "pickler"), PICKLES)
def test_a_pickle_by_another_name_is_not_unpickled(
    tmp_path: Path, seen: list[str], name: str, pickler: Pickler
) -> None:
    marker = tmp_path / "unpickled"
    pickler.dump(tmp_path / name, Payload(marker))
    data = (tmp_path / name).read_bytes()
    uri = with_weights(tmp_path / "weights", data)
    card = saved(tmp_path / "card")
    (tmp_path / "card" / "model.json").write_bytes(data)
    seen.clear()
    with pytest.raises(UsageError, match="is not a safetensors file"):
        artifact.load(uri)
    with pytest.raises(UsageError, match=r"is not a valid|has format None"):
        artifact.load(card)
    assert [one for one in seen if one.startswith("pickle")] == []
    assert not marker.exists()


def _tensors(**changed: Tensor | None) -> bytes:
    """The correct weights; some are replaced, or left out if they are None."""
    encoder = TableEncoder(FEATURES, Scaling.STANDARD)
    right = zoo.entry("linear").build(encoder, 3, Size()).state_dict()
    given = {name.replace("__", "."): value for name, value in changed.items()}
    return safetensors.torch.save({n: v for n, v in (right | given).items() if v is not None})


HEADER_OF_AN_EXABYTE = (1 << 60).to_bytes(8, "little") + b"{}"
SHORT_DATA = (74).to_bytes(
    8, "little"
) + b'{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}}        '


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_tensors(layers__0__bias=torch.zeros(4)), r"layers.0.bias: expected \(3,\), found \(4,\)"),
        (_tensors(layers__0__weight=torch.zeros(2, 3)), r"weight: expected \(3, 2\), found \(2, 3\)"),
        (_tensors(layers__0__bias=None), r"layers.0.bias: expected \(3,\), found None"),
        (_tensors(more=torch.zeros(1)), r"more: expected None, found \(1,\)"),
        (_tensors(layers__0__bias=torch.tensor([0.0, float("nan"), 0.0])), "bias is not finite"),
        (_tensors(layers__0__bias=torch.tensor([0.0, float("-inf"), 0.0])), "bias is not finite"),
        (_tensors(encoder__grid_NG=torch.full((2, 2), float("nan"))), "grid_NG is not finite"),
        (_tensors(layers__0__bias=torch.zeros(3, dtype=torch.float64)), "bias is torch.float64; expected"),
        (b"", "is not a safetensors file"),
        (HEADER_OF_AN_EXABYTE, "is not a safetensors file"),
        (SHORT_DATA, "is not a safetensors file"),
        (_tensors()[:-1], "is not a safetensors file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "weights",
)
def test_invalid_weights_are_rejected(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        artifact.load(with_weights(tmp_path, data))


def test_weights_with_another_sha256_are_rejected_before_parsing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors.torch, "load", lambda data: pytest.fail("parsed"))
    with pytest.raises(UsageError, match="expected sha256 000000000000…, found"):
        artifact.load(with_card_of(tmp_path, _tensors(), "0" * 64))


def _as_sequence(*shape: Any) -> Edit:
    """The card with one input, a sequence of this shape, in place of its features."""
    return lambda card: card.update(inputs=["segments"], features=[], shapes={"segments": list(shape)})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda card: card.update(classes=["a", "a", "c"]), "the classes are not distinct"),
        (lambda card: card.update(classes=[1, 2, 3]), r"Expected `str`, got `int` - at `\$.classes"),
        (lambda card: card.update(classes=["a", "b"]), "expected .2,., found .3,."),
        (lambda card: card.update(classes=["a", "b", "c", "d"]), "expected .4,., found .3,."),
        (lambda card: card.update(classes=[]), "the classes are not distinct, or there are none"),
        (lambda card: card.update(classes=None), "Expected `array`, got `null` - at"),
        (lambda card: card.update(model="wavenet"), "no model is named 'wavenet'"),
        (lambda card: card.update(format=1), "has format 1, .* another version .* expected 3 or 4"),
        (lambda card: card.pop("format"), "has format None"),
        (lambda card: card.pop("sha256"), "expected sha256"),
        (lambda card: card.update(inputs=["gtzan57"]), "do not belong to the inputs"),
        (lambda card: card.update(more=1), "has unknown fields: more"),
        (lambda card: card.update(size={"width": "8"}), "Expected `int`, got `str` - at"),
        (lambda card: card.update(categories=-1), "categories -1: expected 0 to"),
        (lambda card: card.update(categories="x"), "Expected `int`, got `str` - at .*categories"),
        (lambda card: card.update(categories=10**13), "categories 1[0]+: expected 0 to"),
        (lambda card: card.update(tokens={"text": 1}), r"tokens: expected sizes for \[\], found \['text'\]"),
        (lambda card: card.update(model="periodic_mlp", size={"width": 10**13}), "width 1[0]+: expected"),
        (lambda card: card.update(together={"a": {"b": 2}}), "a share of tracks .* is not from 0 to 1"),
        (lambda card: card.update(together={"a": {"b": "x"}}), "Expected `float`, got `str` - at .*together"),
        (lambda card: card.update(together={"a": {"z": 0.5}}), "`together` has unknown classes: z"),
        (lambda card: card.update(shapes={"segments": [2, 2]}), "shapes of unknown inputs: segments"),
        (_as_sequence(2), "the shape of segments is .2,.: expected 2 or 3 sizes"),
        (_as_sequence(2, 0), "the shape of segments is .2, 0.: expected 2 or 3 sizes"),
        (_as_sequence(10**7, 10**7), "the shape of segments is .*1,048,576 values at most"),
        (_as_sequence(2, "2"), "Expected `int`, got `str` - at .*shapes"),
        (_as_sequence(2, 2), "linear takes inputs of the kind vector; found segments: sequence"),
    ],
)
def test_an_invalid_card_is_rejected(tmp_path: Path, edit: Edit, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        artifact.load(with_card(tmp_path, edit))


def test_a_model_with_an_input_of_earlier_versions_is_not_loaded(tmp_path: Path) -> None:
    def edit(card: dict[str, Any]) -> None:
        card.update(inputs=["artist"], features=[of | {"input": "artist"} for of in card["features"]])

    with pytest.raises(UsageError, match=r"uses the input 'artist', .* Train a new model"):
        artifact.load(with_card(tmp_path, edit))


@pytest.mark.parametrize("text", ["", "[]", "null", '"x"', '{"format": 4}', "\x00", "{", "[" * 100_000])
def test_a_file_that_is_not_a_model_card_is_rejected(tmp_path: Path, text: str) -> None:
    uri = saved(tmp_path)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(UsageError, match=r"is not a valid|has format None"):
        artifact.load(uri)
