"""Encoding of raw features: the result of each scaling, and the tensors that are saved with the weights."""

import numpy as np
import pytest
import torch

from genremill.infra.errors import UsageError
from genremill.models.encoders.table import TableEncoder
from genremill.models.features import TABLE, FeatureSpec, Scaling

FEATURES = (FeatureSpec("tempo", False), FeatureSpec("key", True), FeatureSpec("energy", False))
ROWS = np.array([[60, 0, 0.0], [120, 7, 0.5], [180, 7, 1.0]], np.float32)


def test_minmax_scales_the_train_rows_to_0_and_1() -> None:
    encoder = TableEncoder.fit(ROWS, FEATURES, Scaling.MINMAX)
    assert encoder.encoded_names == ["tempo", "energy", "key=0", "key=7"]
    assert encoder({TABLE: torch.from_numpy(ROWS)}).tolist() == [[0, 0, 1, 0], [0.5, 0.5, 0, 1], [1, 1, 0, 1]]


def test_an_unseen_category_is_all_zeros() -> None:
    encoder = TableEncoder.fit(ROWS, FEATURES, Scaling.MINMAX)
    assert encoder.indicators(torch.tensor([[60, -1.0, 0]])).tolist() == [[0, 0]]


def test_standard_has_mean_0_and_deviation_1() -> None:
    encoder = TableEncoder.fit(ROWS, FEATURES, Scaling.STANDARD)
    scaled = encoder.numeric(torch.from_numpy(ROWS)).numpy()
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-6)


def test_features_that_no_train_track_has_are_an_error() -> None:
    encoder = TableEncoder(FEATURES, Scaling.RANK)
    with pytest.raises(UsageError, match="none of 3 train tracks has table: leave it out"):
        encoder.learn({TABLE: np.full_like(ROWS, np.nan)})


def test_ranks_do_not_depend_on_the_unit() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 1)).astype(np.float32)
    one = TableEncoder.fit(x, (FeatureSpec("x", False),), Scaling.RANK)
    two = TableEncoder.fit(np.exp(x), (FeatureSpec("x", False),), Scaling.RANK)
    ranks = one.numeric(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ranks, two.numeric(torch.from_numpy(np.exp(x))).numpy(), atol=2e-3)
    np.testing.assert_allclose(ranks[:, 0], (np.argsort(np.argsort(x[:, 0])) / 4999), atol=2e-3)


@pytest.mark.parametrize("scaling", Scaling)
def test_a_constant_feature_stays_finite(scaling: Scaling) -> None:
    x = np.full((10, 1), 3.0, np.float32)
    encoder = TableEncoder.fit(x, (FeatureSpec("x", False),), scaling)
    assert torch.isfinite(encoder({TABLE: torch.tensor([[3.0], [9.0], [-9.0]])})).all()


@pytest.mark.parametrize("scaling", Scaling)
def test_an_encoder_loaded_from_its_tensors_encodes_the_same(scaling: Scaling) -> None:
    fitted = TableEncoder.fit(ROWS, FEATURES, scaling)
    loaded = TableEncoder(FEATURES, scaling, categories=2)
    loaded.load_state_dict(fitted.state_dict())
    x = {TABLE: torch.tensor([[100.0, 7, 0.3], [999, 3, -1]])}
    assert torch.equal(fitted(x), loaded(x))
