"""One prediction per track: pooling by mean and by vote, and the windows of a batch as rows of a network."""

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from genremill.models.artifact import Model
from genremill.models.encoders.base import Inputs, joined
from genremill.models.features import TABLE, WINDOWS
from genremill.models.model_card import ModelCard
from genremill.models.networks.base import Network
from genremill.models.pooling import Pooling, pooled
from genremill.models.recipe import Size
from genremill.udfs.model_rows import CHUNK_ROWS, model_rows
from genremill.udfs.tagging import probabilities

# Three windows of a track, then one of another.
P_RC = np.array([[0.9, 0.1, 0.0], [0.3, 0.4, 0.3], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], np.float32)
WINDOWS_T = np.array([3, 1])


def test_mean_pooling_averages_the_windows() -> None:
    found = pooled(P_RC, WINDOWS_T, Pooling.MEAN)
    np.testing.assert_allclose(found, [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], rtol=1e-6)


def test_a_vote_is_the_share_of_the_windows() -> None:
    found = pooled(P_RC, WINDOWS_T, Pooling.VOTE)
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0.0], [0.0, 0.0, 1.0]], atol=5e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert found.argmax(axis=1).tolist() == [1, 2]  # by the mean it would be 0


def test_ties_of_a_vote_are_broken_by_the_mean() -> None:
    p_RC = np.array([[0.6, 0.4, 0.0], [0.1, 0.8, 0.1]], np.float32)
    assert pooled(p_RC, np.array([2]), Pooling.VOTE).argmax() == 1
    assert pooled(p_RC[:, [1, 0, 2]], np.array([2]), Pooling.VOTE).argmax() == 0


def test_pooling_no_tracks_gives_an_empty_array() -> None:
    assert pooled(np.zeros((0, 3), np.float32), np.array([], np.int64), Pooling.VOTE).shape == (0, 3)


class _FirstValues(Network):
    """A network whose probabilities are the first two values of its input."""

    def forward(self, inputs: Inputs) -> Tensor:
        return joined(inputs, ("gtzan57", TABLE))[None, :, :2].log()


MODEL = Model(
    ModelCard(
        model="linear",
        classes=("a", "b"),
        features=(),
        size=Size(),
        categories=0,
        labels="genre",
        use_popularity=False,
        clusters={},
        genre_map={},
        inputs=("gtzan57", TABLE),
    ),
    _FirstValues(),
    nn.ModuleDict(),
)


def _batch(rows: list[tuple[list[float], list[float]] | None]) -> pa.RecordBatch:
    """Tracks with one value per window, and with their table features."""
    windows = pa.list_(pa.struct([("gtzan57", pa.list_(pa.float32()))]))
    values = [None if one is None else [{"gtzan57": [value]} for value in one[0]] for one in rows]
    table = pa.array([[] if one is None else one[1] for one in rows], pa.list_(pa.float32()))
    return pa.RecordBatch.from_pydict({WINDOWS: pa.array(values, windows), "table_features": table})


def test_windows_become_rows_and_tracks_without_windows_have_no_rows() -> None:
    batch = _batch([None, ([0.9, 0.4], [0.1, 7]), None, ([0.2], [0.8, 8])]).slice(1)
    rows = model_rows(batch, MODEL, (0, 1))
    assert rows.has.to_pylist() == [True, False, True]
    assert rows.windows_T is not None
    assert rows.windows_T.tolist() == [2, 1]
    assert rows.inputs[TABLE].tolist() == [[np.float32(0.1), 7], [np.float32(0.1), 7], [np.float32(0.8), 8]]
    found = probabilities(MODEL, rows)
    np.testing.assert_allclose(found, [[0.85, 0.15], [0.2, 0.8]], rtol=1e-6)


def test_a_batch_without_inputs_has_no_tracks() -> None:
    rows = model_rows(_batch([None, None]), MODEL, (0, 1))
    assert (rows.tracks, rows.has.to_pylist()) == (0, [False, False])


def test_chunks_do_not_change_the_predictions() -> None:
    p = np.random.default_rng(0).uniform(0.1, 0.9, CHUNK_ROWS + 5)
    batch = _batch([([float(one)] * 3, [float(1 - one)]) for one in p])
    found = probabilities(MODEL, model_rows(batch, MODEL, (0,)))
    np.testing.assert_allclose(found[:, 0], p, rtol=1e-5)
