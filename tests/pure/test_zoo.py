"""Every model of the zoo: parameters, fitting, accuracy at chance, scoring, saving and loading."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from genremill.infra.errors import UsageError
from genremill.models import artifact, zoo
from genremill.models.features import TABLE, WINDOWS
from genremill.models.model_card import Cluster
from genremill.models.networks import nearest_neighbors
from genremill.models.networks.base import Network
from genremill.models.recipe import Size
from genremill.udfs import tagging
from genremill.udfs.model_rows import model_rows
from tests.pure.zoo_cases import NUMBERS, card_of, case, network, parameter_count, tensors

OF_TABLES = [name for name in zoo.ZOO if TABLE in case(name, 10, 2)[0].inputs]
Doubles = npt.NDArray[np.float64]

REPORTED = {
    "fcnn": 195_826,
    "mlp4": 202_826,
    "simple_cnn": 5_562,
    "timbre_cnn": 297_528,
    "pitch_cnn": 297_528,
}


@pytest.mark.parametrize("model", REPORTED)
def test_a_model_has_the_parameters_of_its_report(model: str) -> None:
    of = zoo.entry(model).of
    assert of is not None
    card = card_of(model, *of)
    assert parameter_count(artifact.build(card)) == REPORTED[model]


def test_pitch_cnn_has_the_same_parameters_for_12_channels() -> None:
    assert parameter_count(artifact.build(card_of("pitch_cnn", (512, 12), 8))) == 297_528


def test_the_hidden_layer_of_multiwindow_mlp_has_the_mean_width_of_inputs_and_outputs() -> None:
    card = card_of("multiwindow_mlp", (90,), 10)
    assert parameter_count(artifact.build(card)) == 90 * 50 + 50 + 50 * 10 + 10


def _fit(model: Network, inputs: dict[str, Tensor], label_B: Tensor) -> None:
    if model.uses_all_rows:
        model.fit_train([(inputs, label_B)])
    if not model.is_trainable:
        return
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(400):
        logits = model.train()(inputs)
        loss = model.loss(logits, label_B, label_smoothing=0.0)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if loss < 0.02:
            break
    norms = [one for one in model.modules() if isinstance(one, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
    for _ in range(max((int(4 / (one.momentum or 1)) for one in norms), default=0)):
        model(inputs)  # until the running statistics equal those of the rows


@pytest.mark.parametrize("model", zoo.ZOO)
def test_a_model_fits_64_random_labels_and_is_at_chance_on_other_rows(model: str) -> None:
    """Labels are random, so only a leak could predict those of held-out rows."""
    card, samples = case(model, 600, 8)
    inputs, label = tensors(samples), torch.from_numpy(np.random.default_rng(1).integers(8, size=600))
    card = replace(card, size=replace(card.size, rows=min(card.size.rows, 64)))
    fitted = network(card, samples)
    _fit(fitted, {name: x[:64] for name, x in inputs.items()}, label[:64])
    right = fitted.eval().probabilities(inputs).argmax(dim=1) == label
    assert right[:64].float().mean() >= 0.98
    assert abs(right[64:].float().mean() - 1 / 8) < 0.05


@pytest.mark.parametrize("model", zoo.ZOO)
def test_probabilities_sum_to_1_and_do_not_depend_on_the_batch(model: str) -> None:
    card, samples = case(model, 50, 5)
    answering, inputs = network(card, samples).eval(), tensors(samples)
    whole = answering.probabilities(inputs)
    assert whole.shape == (50, 5)
    torch.testing.assert_close(whole.sum(dim=1), torch.ones(50))
    split = {name: torch.split(x, 7) for name, x in inputs.items()}
    parts = [
        answering.probabilities(dict(zip(split, part, strict=True)))
        for part in zip(*split.values(), strict=True)
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("model", OF_TABLES)
def test_a_model_fits_rows_with_missing_values(model: str) -> None:
    card, samples = case(model, 64, 4, missing=0.2)
    inputs, label = tensors(samples), torch.arange(64) % 4
    fitted = network(card, samples)
    _fit(fitted, inputs, label)
    p = fitted.eval().probabilities(inputs)
    assert (p.argmax(dim=1) == label).float().mean() >= 0.98
    assert all(torch.isfinite(weight).all() for weight in fitted.parameters())
    lacking = dict(inputs)
    lacking[TABLE] = torch.full_like(inputs[TABLE], torch.nan)
    lacking[TABLE][:, 0] = 1.0
    assert torch.isfinite(fitted.probabilities(lacking)).all()


@pytest.mark.parametrize("model", OF_TABLES)
def test_missing_values_of_a_row_do_not_change_other_rows(model: str) -> None:
    """The model is fitted on complete rows, so it has no indicators; the loaded one predicts the same."""
    card, samples = case(model, 50, 3)
    assert not any(feature.has_missing for feature in card.features)
    made, inputs = network(card, samples).eval(), tensors(samples)
    if made.uses_all_rows:
        made.fit_train([(inputs, torch.arange(50) % 3)])
    complete = made.probabilities(inputs)
    inputs[TABLE] = inputs[TABLE].clone()
    inputs[TABLE][::2, 3:20] = torch.nan
    incomplete = made.probabilities(inputs)
    assert torch.isfinite(incomplete).all()
    torch.testing.assert_close(incomplete[1::2], complete[1::2])
    assert not torch.allclose(incomplete[::2], complete[::2])


def _saved(model: str, folder: Path, missing: float = 0.0) -> tuple[str, Network, dict[str, Tensor]]:
    card, samples = case(model, 50, 3, missing=missing)
    made = network(card, samples)
    if made.uses_all_rows:
        made.fit_train([(tensors(samples), torch.arange(50) % 3)])
    uri = f"file://{folder}/{model}"
    card = replace(card, clusters={"a": Cluster(0, "a / b")}, genre_map={"a": 0})
    artifact.save(uri, card, made.state_dict())
    return uri, made.eval(), tensors(samples)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("model", zoo.ZOO)
def test_a_saved_and_loaded_model_predicts_the_same(model: str, missing: float, tmp_path: Path) -> None:
    uri, made, inputs = _saved(model, tmp_path, missing)
    loaded = artifact.load(uri)
    assert torch.equal(loaded.network.probabilities(inputs), made.probabilities(inputs))
    assert loaded.card.classes == ("a", "b", "c")
    assert loaded.card.clusters == {"a": Cluster(0, "a / b")}


@pytest.mark.parametrize("model", zoo.ZOO)
def test_scores_of_spark_rows_equal_those_of_one_batch(model: str, tmp_path: Path) -> None:
    """Tracks as Spark passes them: table features, and two windows of sets; the fourth track has none."""
    uri, made, inputs = _saved(model, tmp_path)
    table = {TABLE: inputs[TABLE][:25]} if TABLE in inputs else {}
    sets = {name: x for name, x in inputs.items() if name != TABLE}
    windows = 2 if sets else 1
    rows = {name: x.repeat_interleave(windows, dim=0) for name, x in table.items()} | sets
    expected = made.probabilities(rows).numpy().reshape(25, windows, 3).mean(axis=1)

    columns = {}
    if table:
        columns["table_features"] = _but_the_fourth(table[TABLE].tolist(), _NUMBERS)
    if sets:
        named = [
            dict(zip(sets, row, strict=True))
            for row in zip(*(x.tolist() for x in sets.values()), strict=True)
        ]
        kind = pa.list_(pa.struct([(name, _NUMBERS) for name in sets]))
        columns[WINDOWS] = _but_the_fourth([named[at : at + 2] for at in range(0, 50, 2)], kind)
    loaded = artifact.load(uri)
    positions = tuple(range(NUMBERS + 1)) if table else ()
    given = model_rows(pa.RecordBatch.from_pydict(columns), loaded, positions)
    assert given.has.to_pylist() == [at != 3 for at in range(26)]
    np.testing.assert_allclose(tagging.probabilities(loaded, given), expected, atol=1e-6)


_NUMBERS = pa.list_(pa.float32())


def _but_the_fourth(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array([*values[:3], None, *values[3:]], kind)


def test_an_unknown_model_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"there are cnn, cnn_lstm, fcnn, .*, vggish_transfer"):
        zoo.entry("wavenet")


def test_inputs_of_a_wrong_shape_are_an_error() -> None:
    with pytest.raises(UsageError, match="lstm takes inputs of the kind sequence; found input: vector"):
        artifact.build(card_of("lstm", (57,), 4))
    with pytest.raises(UsageError, match="found sequences of 512 steps of 13 channels; expected 16 steps"):
        artifact.build(card_of("timbre_cnn", (512, 13), 4))
    with pytest.raises(UsageError, match="found images of 3 × 200; expected 4 × 4 or more"):
        artifact.build(card_of("spectrogram_cnn", (1, 3, 200), 4))


def test_a_part_of_hybrid_must_have_one_penultimate_layer_and_its_inputs() -> None:
    card, _ = case("hybrid", 10, 3)
    with pytest.raises(UsageError, match="periodic_mlp cannot be a part of hybrid"):
        artifact.build(replace(card, parts=("mlp4", "periodic_mlp")))
    with pytest.raises(UsageError, match="hybrid cannot have hybrid as a part"):
        artifact.build(replace(card, parts=("hybrid",)))
    with pytest.raises(UsageError, match="simple_cnn takes inputs of the kind image; found none"):
        artifact.build(replace(card, parts=("mlp4", "simple_cnn")))


def test_knn_weights_neighbors_by_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_neighbors, "NEIGHBORS", 3)
    monkeypatch.setattr(nearest_neighbors, "PRIOR", 0.0)
    monkeypatch.setattr(nearest_neighbors, "discriminants", _numbers_as_they_are)
    card = replace(card_of("knn", (1,), 3), size=Size(rows=4))
    encoder = zoo.encoder(card)
    rows = torch.tensor([[0.0], [1.0], [3.0], [100.0]])
    encoder.learn({"input": rows.numpy()})
    model = zoo.entry("knn").build(encoder, 3, card.size)
    model.fit_train(
        [({"input": rows[:2]}, torch.tensor([0, 1])), ({"input": rows[2:]}, torch.tensor([1, 2]))]
    )
    share = model.probabilities({"input": torch.tensor([[-1.0]])})[0]
    weights = 1 / torch.tensor([1.0, 16.0, 256.0])  # the fourth is not a neighbor
    expected = torch.tensor([weights[0], weights[1] + weights[2], 0]) / weights.sum()
    torch.testing.assert_close(share, expected, atol=1e-3, rtol=0)


def _numbers_as_they_are(view_RM: Doubles, label_R: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    numbers = view_RM.shape[1] // 2
    return np.zeros(2 * numbers), np.diag([0.0] * numbers + [1.0] * numbers)


def test_discriminants_ignore_features_that_do_not_separate_classes() -> None:
    rng = np.random.default_rng(0)
    label_R = np.repeat([0, 1, 2], 200)
    apart_R = 5.0 * label_R + rng.normal(size=600)
    view_RM = np.stack([1000 + 30 * apart_R, rng.normal(size=600), np.full(600, 7.0), apart_R**2], axis=1)
    mean_M, map_MD = nearest_neighbors.discriminants(view_RM, label_R)
    found_RD = (view_RM - mean_M) @ map_MD
    variance_D = found_RD.var(axis=0)
    np.testing.assert_allclose(variance_D.sum(), 2)
    likest = np.abs([np.corrcoef(found_RD[:, at], apart_R)[0, 1] for at in (-1, -2)])
    assert likest[0] > 0.95
    assert variance_D[-1] > 5 * variance_D[:-2].max()
    # Of any unit, and the same whatever the order of the rows.
    order = rng.permutation(600)
    _, other_MD = nearest_neighbors.discriminants(view_RM[order] / 1000, label_R[order])
    gap_R = np.abs(np.linalg.norm(found_RD[:1] - found_RD, axis=1))
    other_RD = ((view_RM - mean_M) / 1000) @ other_MD
    np.testing.assert_allclose(np.linalg.norm(other_RD[:1] - other_RD, axis=1), gap_R, rtol=1e-6)


def test_knn_rejects_more_rows_than_it_can_keep() -> None:
    card = replace(card_of("knn", (1000,), 3), size=Size(rows=100_000))
    with pytest.raises(
        UsageError, match=r"knn keeps its 100,000 train rows of 2,000 values; .*--per-class N"
    ):
        artifact.build(card)


def test_padding_does_not_change_predictions() -> None:
    """Only for networks that pool over steps: those that flatten the first steps see the length."""
    for model in ("cnn", "lstm", "gru", "cnn_lstm"):
        longer, shorter = (_over(model, steps) for steps in (14, 10))
        x = torch.randn(5, 10, 6)
        padded = torch.cat([x, torch.zeros(5, 4, 6)], dim=1)
        longer.load_state_dict(shorter.state_dict())
        torch.testing.assert_close(
            longer.probabilities({"input": padded.flatten(1)}), shorter.probabilities({"input": x.flatten(1)})
        )


def _over(model: str, steps: int) -> Network:
    torch.manual_seed(0)
    return artifact.build(card_of(model, (steps, 6), 3)).eval()
