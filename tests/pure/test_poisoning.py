"""Training with hostile rows: the values of 1 % of the rows are chosen to do the most damage."""

import numpy as np
import pytest
import torch
from torch import Tensor

from genremill.models import zoo
from genremill.models.encoders.table import TableEncoder, with_limits
from genremill.models.features import TABLE, FeatureSpec
from tests.pure.poisoned_rows import LARGE, Labeled, poisoned, worst

CLASSES, FEATURES = 6, tuple(FeatureSpec(f"f{number}", False) for number in range(6))


def labeled(rows: int, seed: int) -> Labeled:
    """Rows of six classes that overlap, with features on scales from 0.01 to 1,000."""
    rng = np.random.default_rng(seed)
    center_CF = np.random.default_rng(9).normal(0, 1, (CLASSES, len(FEATURES)))
    label_B = rng.integers(CLASSES, size=rows)
    z_BF = center_CF[label_B] + rng.normal(size=(rows, len(FEATURES)))
    z_BF[:, 0] = np.exp(z_BF[:, 0])
    return Labeled((z_BF * np.logspace(-2, 3, len(FEATURES))).astype(np.float32), label_B)


TRAINING, HELD_OUT = labeled(2500, 0), labeled(20_000, 1)


def accuracy(
    model: str, rows: Labeled, epochs: int = 16, batch: int = 64, *, has_limits: bool = True
) -> float:
    """Top-1 accuracy on clean held-out rows of a model trained on the rows."""
    torch.manual_seed(0)
    entry = zoo.entry(model)
    features = with_limits(rows.x_BF, FEATURES) if has_limits else FEATURES
    encoder = TableEncoder.fit(rows.x_BF, features, entry.scaling)
    network = entry.build(encoder, CLASSES, entry.size(len(rows.label_B)))
    x, label_B = torch.from_numpy(rows.x_BF), torch.from_numpy(rows.label_B)
    if network.uses_all_rows:
        network.fit_train([({TABLE: x}, label_B)])
    if network.is_trainable:
        optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
        order = [part for _ in range(epochs) for part in _batches(len(x), batch)]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=len(order))
        for part in order:
            optimizer.zero_grad()
            torch.autograd.backward(network.loss(network({TABLE: x[part]}), label_B[part], 0.0))
            optimizer.step()
            schedule.step()
    predicted = network.eval().probabilities({TABLE: torch.from_numpy(HELD_OUT.x_BF)}).argmax(dim=1)
    return float((predicted.numpy() == HELD_OUT.label_B).mean())


def _batches(rows: int, batch: int) -> list[Tensor]:
    order = torch.randperm(rows)
    return [order[start : start + batch] for start in range(0, rows, batch)]


@pytest.fixture(scope="module")
def hostile() -> Labeled:
    """The training rows with the hostile rows that do the most damage to `linear`."""
    part = Labeled(TRAINING.x_BF[:1000], TRAINING.label_B[:1000])
    choices = worst(part, lambda rows: -accuracy("linear", rows, epochs=30, batch=1000))
    return poisoned(TRAINING, choices)


@pytest.mark.parametrize("model", ["fcnn", "mlp4", "knn", "periodic_mlp", "linear"])
def test_hostile_rows_cost_less_than_a_point_of_accuracy(model: str, hostile: Labeled) -> None:
    assert accuracy(model, hostile) > accuracy(model, TRAINING) - 0.01


def test_without_limits_large_values_cost_a_quarter_of_the_accuracy() -> None:
    hostile = poisoned(TRAINING, (*(LARGE,) * len(FEATURES), 0))
    assert accuracy("linear", hostile, has_limits=False) < 0.75 * accuracy("linear", TRAINING)
    assert accuracy("linear", hostile) > accuracy("linear", TRAINING) - 0.01
