"""Model cards whose sizes do not fit the weights file, and valid models, which are still loaded."""

import dataclasses
import hashlib
import itertools
import os
import resource
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genremill.infra.errors import UsageError
from genremill.models import artifact, zoo
from genremill.models.outliers import fit_distributions
from tests.pure import zoo_cases
from tests.pure.test_untrusted_models import saved, with_card, with_weights

Record = dict[str, Any]
EARLIER = Path(__file__).parents[1] / "compatibility" / "warehouse-0.1.0.tar.xz"


def _features(count: int, source: str = "table") -> list[Record]:
    return [{"name": str(number), "categorical": False, "input": source} for number in range(count)]


LARGEST = {"width": 65_536, "depth": 100, "members": 100}
PARTS = ["multiwindow_mlp", "lstm"]
HUGE: list[Record] = [
    {"model": "periodic_mlp", "size": LARGEST},
    {"model": "periodic_mlp", "size": {"width": 65_536}, "categories": 1_000_000},
    {"model": "multiwindow_mlp", "categories": 1_000_000},
    {"model": "vggish_transfer", "categories": 1_000_000, "size": {"width": 65_536}},
    {"model": "linear", "categories": 1_000_000, "classes": [str(number) for number in range(10_000)]},
    {"features": _features(30_000), "outlier_limits": {"table": 1.0}},
    {"model": "knn", "features": _features(20_000)},
    {"model": "knn", "size": {"rows": 1 << 32}},
    {"model": "fusion", "inputs": ["text"], "features": [], "tokens": {"text": 33_000_000}},
    {"model": "fusion", "inputs": ["table", "text"], "tokens": {"text": 33_000_000}},
    {
        "model": "fusion",
        "inputs": ["table", "tags:a", "text:b"],
        "tokens": {"tags:a": 15_000_000, "text:b": 15_000_000},
    },
    {"model": "lstm", "inputs": ["s"], "features": [], "shapes": {"s": [2, 2]}, "size": LARGEST},
    {"model": "cnn", "inputs": ["s"], "features": [], "shapes": {"s": [2, 1 << 19]}, "size": LARGEST},
    {"model": "timbre_cnn", "inputs": ["s"], "features": [], "shapes": {"s": [43_690, 24]}},
    {"model": "simple_cnn", "inputs": ["s"], "features": [], "shapes": {"s": [1 << 16, 4, 4]}},
    {"model": "hybrid", "inputs": ["table", "s"], "shapes": {"s": [2, 2]}, "parts": PARTS, "size": LARGEST},
]


@pytest.mark.parametrize("fields", HUGE, ids=lambda fields: fields.get("model", "distribution"))
def test_sizes_beyond_the_weights_file_take_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: Record
) -> None:
    uri = with_card(tmp_path, lambda record: record.update(fields))
    monkeypatch.setattr(artifact, "read_weights", lambda *_: pytest.fail("the weights were read"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        UsageError, match=r"expected [\d,]+ (bytes and a header for the sizes|values at most)"
    ):
        artifact.load(uri)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "hybrid"}, "hybrid has no parts"),
        ({"model": "hybrid", "parts": ["x"]}, "no model is named 'x'"),
        ({"model": "hybrid", "parts": ["hybrid"]}, "hybrid cannot have hybrid as a part"),
        ({"model": "hybrid", "parts": ["lstm"]}, "lstm takes inputs of the kind sequence; found none"),
        ({"model": "hybrid", "parts": ["knn"]}, "knn cannot be a part of hybrid"),
        ({"model": "fusion", "inputs": ["a.b"], "features": _features(2, "a.b")}, "a.b"),
        ({"model": "fusion", "inputs": ["items"], "features": _features(2, "items")}, "items"),
        ({"model": "periodic_mlp", "features": [{"name": "key", "categorical": True}]}, "division by zero"),
        (
            {"model": "linear", "inputs": ["table", "text"], "tokens": {"text": 9}},
            "found table: vector, text: text",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_rejected(tmp_path: Path, fields: Record, message: str) -> None:
    with pytest.raises(UsageError, match=rf"model\.json is not a valid ModelCard record: .*{message}"):
        artifact.load(with_card(tmp_path, lambda record: record.update(fields)))


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:60], lambda data: data + b"x"])
def test_a_weights_file_of_another_length_is_rejected(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    saved(tmp_path / "right")
    data = change((tmp_path / "right" / "model.safetensors").read_bytes())
    with pytest.raises(UsageError, match=r"model\.safetensors is not a safetensors file"):
        artifact.load(with_weights(tmp_path / "wrong", data))


def test_a_weights_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    uri = saved(tmp_path)
    os.truncate(tmp_path / "model.safetensors", 1 << 40)
    with pytest.raises(
        UsageError, match=r"model\.safetensors .* found 1,099,511,627,776 bytes; expected \d+"
    ):
        artifact.load(uri)


@pytest.mark.parametrize("model", zoo.ZOO)
def test_every_model_of_the_zoo_is_loaded_without_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    card, samples = zoo_cases.case(model, 60, 3, missing=0.1)
    network = zoo_cases.network(card, samples)
    names = [name for name in card.inputs if name not in card.shapes]
    x_BF = np.hstack([samples[name] for name in names]) if names else np.zeros((60, 0), np.float32)
    distributions = fit_distributions(x_BF, card.features)
    card = dataclasses.replace(card, outlier_limits=dict.fromkeys(distributions, 1.0))
    uri = f"file://{tmp_path}"
    written = artifact.save(uri, card, network.state_dict(), distributions)
    for module in ("torch._dynamo", "torch.fx.experimental.symbolic_shapes"):
        monkeypatch.setitem(sys.modules, module, None)  # it cannot be imported
    loaded = artifact.load(uri)
    assert loaded.card == written
    for name, tensor in network.state_dict().items():
        assert tensor.equal(loaded.network.state_dict()[name])
    assert not any(tensor.is_meta for tensor in itertools.chain(*_all_tensors(loaded)))


def _all_tensors(model: artifact.Model) -> Iterator[Iterator[Any]]:
    for module in (model.network, model.distributions):
        yield module.parameters()
        yield module.buffers()


def _earlier() -> dict[str, dict[str, bytes]]:
    """The files of the models of the warehouse that version 0.1.0 wrote, by folder."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(EARLIER) as archive:
        for member in archive:
            if "/models/" in member.name and (file := archive.extractfile(member)):
                folder, _, name = member.name.rpartition("/")
                found.setdefault(folder, {})[name] = file.read()
    return found


def test_the_models_of_version_0_1_0_are_loaded(tmp_path: Path) -> None:
    loaded = []
    for number, files in enumerate(_earlier().values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        card = artifact.load(f"file://{folder}").card
        assert card.sha256 == hashlib.sha256(files["model.safetensors"]).hexdigest()
        loaded.append(card.model)
    assert sorted(loaded) == ["fusion", "linear"]
