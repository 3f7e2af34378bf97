"""Every model of the zoo: counts, fitting, chance, and the way to disk and back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from genremill.infra.errors import UsageError
from genremill.models import artifact, zoo
from genremill.models.features import TABLE, FeatureSpec, Scaling
from genremill.models.model_card import Cluster, ModelCard
from genremill.models.networks import Network, parameter_count
from genremill.models.recipe import Size
from genremill.models.table_encoder import TableEncoder

FEATURES = tuple(FeatureSpec(name, name == "key") for name in ("tempo", "energy", "valence", "key"))


def _rows(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.normal(size=(count, 3)), rng.integers(12, size=count)]).astype(np.float32)


def _network(model: str, rows: np.ndarray, classes: int) -> Network:
    torch.manual_seed(0)
    entry = zoo.entry(model)
    return entry.build(TableEncoder.fit(rows, FEATURES, entry.scaling), classes, entry.size(len(rows)))


def test_fcnn_has_the_parameters_of_report_a() -> None:
    encoder = TableEncoder(tuple(FeatureSpec(str(at), False) for at in range(30)), Scaling.MINMAX)
    assert parameter_count(zoo.entry("fcnn").build(encoder, 114, Size())) == 195_826


def test_mlp4_has_the_parameters_of_report_b() -> None:
    encoder = TableEncoder(tuple(FeatureSpec(str(at), False) for at in range(57)), Scaling.STANDARD)
    assert parameter_count(zoo.entry("mlp4").build(encoder, 10, Size())) == 202_826


def test_multiwindow_mlp_has_a_layer_as_wide_as_the_mean_of_inputs_and_outputs() -> None:
    encoder = TableEncoder(tuple(FeatureSpec(str(at), False) for at in range(90)), Scaling.STANDARD)
    network = zoo.entry("multiwindow_mlp").build(encoder, 10, Size())
    assert parameter_count(network) == 90 * 50 + 50 + 50 * 10 + 10


@pytest.mark.parametrize("model", ["fcnn", "mlp4", "periodic_mlp"])
def test_a_network_fits_64_examples(model: str) -> None:
    rows = _rows(64)
    label = torch.from_numpy(np.random.default_rng(1).integers(8, size=64))
    network = _network(model, rows, 8)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    inputs = {TABLE: torch.from_numpy(rows)}
    for _ in range(400):
        logits = network(inputs)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), label.repeat(len(logits)))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    right = network.eval().probabilities(inputs).argmax(dim=1) == label
    assert right.float().mean() >= 0.98


@pytest.mark.parametrize("model", zoo.ZOO)
def test_probabilities_add_up_whatever_the_batch(model: str) -> None:
    rows = _rows(50)
    network = _network(model, rows, 5).eval()
    whole = network.probabilities({TABLE: torch.from_numpy(rows)})
    assert whole.shape == (50, 5)
    torch.testing.assert_close(whole.sum(dim=1), torch.ones(50))
    parts = [network.probabilities({TABLE: one}) for one in torch.split(torch.from_numpy(rows), 7)]
    torch.testing.assert_close(torch.cat(parts), whole)


def _saved(model: str, folder: Path) -> tuple[str, Network, np.ndarray]:
    rows = _rows(50)
    network = _network(model, rows, 3)
    card = ModelCard(
        model=model,
        classes=("a", "b", "c"),
        features=FEATURES,
        size=zoo.entry(model).size(50),
        categories=len(np.unique(rows[:, 3])),
        labels="genre",
        use_popularity=False,
        clusters={"a": Cluster(0, "a / b")},
        genre_map={"a": 0},
    )
    uri = f"file://{folder}/{model}"
    artifact.save(uri, card, network.state_dict())
    return uri, network.eval(), rows


@pytest.mark.parametrize("model", zoo.ZOO)
def test_a_round_trip_changes_nothing(model: str, tmp_path: Path) -> None:
    uri, network, rows = _saved(model, tmp_path)
    loaded = artifact.load(uri)
    inputs = {TABLE: torch.from_numpy(rows)}
    assert torch.equal(loaded.network.probabilities(inputs), network.probabilities(inputs))
    assert loaded.card.classes == ("a", "b", "c")
    assert loaded.card.clusters == {"a": Cluster(0, "a / b")}


def test_an_unknown_model_is_an_error() -> None:
    with pytest.raises(UsageError, match="there are fcnn, linear, mlp4, multiwindow_mlp, periodic_mlp"):
        zoo.entry("resnet")


def test_the_readme_lists_the_models_as_they_are() -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    assert zoo.table() in readme, f"expected in README.md:\n{zoo.table()}"
