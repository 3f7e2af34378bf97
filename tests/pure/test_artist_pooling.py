"""The predictions for the tracks of an artist, combined: the formula, its fit, and the batches by artist."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from genremill.infra import records
from genremill.models.artist_pooling import FLOOR, ArtistPooling, with_other_tracks
from genremill.models.evaluation.artists import FEWEST_ARTISTS, fitted_artist_pooling
from genremill.models.evaluation.held_out import HeldOut
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import ModelCard
from genremill.models.recipe import Size
from genremill.udfs import tagging
from genremill.udfs.style_mix import Styles
from genremill.udfs.tagging import ARTIST, GROUP, Predicted, tags_of, whole_artists

CLASSES = 5
POOLING = ArtistPooling(0.3, 0.75, 1.0)


def drawn(tracks: int, artists: int, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    p_TC = random.dirichlet(np.full(CLASSES, 0.3), tracks).astype(np.float32)
    return p_TC, random.integers(-1, artists, tracks)


def test_each_track_is_multiplied_by_the_mean_of_the_others() -> None:
    p_TC, artist_T = drawn(200, 40)
    found = with_other_tracks(p_TC, artist_T, POOLING)
    for track, artist in enumerate(artist_T):
        others = [other for other in np.flatnonzero(artist_T == artist) if other != track]
        if artist < 0 or not others:
            np.testing.assert_array_equal(found[track], p_TC[track])
            continue
        share = len(others) / (len(others) + POOLING.prior)
        own_C, mean_C = (np.maximum(p_C, FLOOR / CLASSES) for p_C in (p_TC[track], p_TC[others].mean(axis=0)))
        expected = own_C ** (1 - share + share * POOLING.own) * mean_C ** (share * POOLING.others)
        np.testing.assert_allclose(found[track], expected / expected.sum(), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_the_order_of_the_tracks_does_not_matter() -> None:
    p_TC, artist_T = drawn(100, 9)
    order = np.random.default_rng(1).permutation(100)
    found = with_other_tracks(p_TC[order], artist_T[order], POOLING)
    np.testing.assert_allclose(found, with_other_tracks(p_TC, artist_T, POOLING)[order], atol=1e-6)


def test_without_weight_nothing_changes() -> None:
    p_TC, artist_T = drawn(50, 5)
    found = with_other_tracks(p_TC, artist_T, ArtistPooling(1.0, 0.0, 0.0))
    np.testing.assert_allclose(found, p_TC, atol=FLOOR)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_a_probability_of_0_stays_finite(p: float) -> None:
    p_TC = np.array([[p, 1 - p], [1 - p, p], [1, 0]], np.float32)
    found = with_other_tracks(p_TC, np.zeros(3, np.int64), ArtistPooling(10.0, 10.0, 0.0))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def sample(*, same_genre: bool, artists: int = 300, each: int = 4) -> tuple[HeldOut, npt.NDArray[np.int64]]:
    """Predictions that are often wrong, of artists whose tracks have one genre, or any."""
    random = np.random.default_rng(3)
    artist_T = np.repeat(np.arange(artists), each)
    of_artist = random.integers(0, CLASSES, artists)[artist_T]
    label_T = of_artist if same_genre else random.integers(0, CLASSES, len(artist_T))
    logits = random.normal(size=(len(artist_T), CLASSES))
    logits[np.arange(len(artist_T)), label_T] += 1.0
    p_TC = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    held_out = HeldOut(
        split=SplitBy.ARTIST,
        classes=tuple("abcde"),
        probabilities_TC=p_TC.astype(np.float32),
        pair_track_P=np.arange(len(artist_T)),
        pair_label_P=label_T,
        artist_T=artist_T,
        unseen_T=np.ones(len(artist_T), np.bool_),
    )
    return held_out, artist_T


def test_other_tracks_are_used_only_if_validation_artists_show_a_gain() -> None:
    alone, artist_T = sample(same_genre=True)
    pooling = fitted_artist_pooling(alone, artist_T)
    assert pooling is not None
    combined_TC = with_other_tracks(alone.probabilities_TC, artist_T, pooling)
    right_T = combined_TC.argmax(axis=1) == alone.pair_label_P
    assert right_T.mean() > alone.right_T.mean() + 0.1
    assert fitted_artist_pooling(*sample(same_genre=False)) is None


def test_a_few_artists_or_artists_of_one_track_are_not_enough() -> None:
    assert fitted_artist_pooling(*sample(same_genre=True, artists=FEWEST_ARTISTS - 1)) is None
    assert fitted_artist_pooling(*sample(same_genre=True, each=1)) is None


def test_a_fitted_pooling_is_one_that_a_card_may_have() -> None:
    alone, artist_T = sample(same_genre=True)
    p_TC = np.full(alone.probabilities_TC.shape, 0.1, np.float32)
    p_TC[np.arange(len(p_TC)), alone.pair_label_P] = 0.6
    p_TC[::4] = p_TC[::4, ::-1]
    pooling = fitted_artist_pooling(replace(alone, probabilities_TC=p_TC), artist_T)
    assert pooling is not None
    assert records.from_json(records.to_json(pooling), ArtistPooling, "card") == pooling


def batches_of(artists: list[str], cuts: list[int]) -> Iterator[pa.RecordBatch]:
    whole = pa.RecordBatch.from_pydict({ARTIST: artists, "row": list(range(len(artists)))})
    for start, end in pairwise([0, *cuts, len(artists)]):
        yield whole.slice(start, end - start)


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_never_divides_an_artist(seed: int) -> None:
    random = np.random.default_rng(seed)
    artists = sorted(f"artist {number:02d}" for number in random.integers(0, 12, 60))
    cuts = sorted(random.integers(0, 61, 5).tolist())
    found = [batch.to_pydict() for batch in whole_artists(batches_of(artists, cuts))]
    assert [row for batch in found for row in batch["row"]] == list(range(60))
    for before, after in pairwise(found):
        assert before[ARTIST][-1] != after[ARTIST][0]
    for batch in found:
        assert len({*zip(batch[ARTIST], batch[GROUP], strict=True)}) == len({*batch[ARTIST]})


def test_a_large_artist_is_divided_in_the_same_way_whatever_the_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tagging, "MOST_TRACKS", 10)
    artists = ["a"] * 3 + ["b"] * 34 + ["c"] * 2
    groups = set()
    for cuts in ([], [5], [1, 2, 20, 21], list(range(1, 39))):
        of_row: dict[int, tuple[int, ...]] = {}
        for batch in whole_artists(batches_of(artists, cuts)):
            rows, numbers = batch.column("row").to_pylist(), batch.column(GROUP).to_pylist()
            for row, number in zip(rows, numbers, strict=True):
                of_row[row] = tuple(r for r, n in zip(rows, numbers, strict=True) if n == number)
        groups.add(tuple(of_row[row] for row in range(39)))
    (by_row,) = groups
    assert sorted(set(by_row)) == [
        tuple(range(start, end)) for start, end in pairwise([0, 3, 13, 23, 33, 37, 39])
    ]


def test_empty_batches_are_fine() -> None:
    assert list(whole_artists(iter([]))) == []
    assert list(whole_artists(batches_of([], []))) == []


CARD = ModelCard(
    model="linear",
    classes=("a", "b"),
    features=(),
    size=Size(),
    categories=0,
    labels="genre",
    use_popularity=False,
    clusters={},
    genre_map={},
)


@pytest.mark.parametrize(
    ("p", "current", "label"), [(0.52, 1, "b"), (0.53, 1, "a"), (0.52, 0, "a"), (0.52, -1, "a")]
)
def test_a_current_label_stays_unless_another_one_is_clearly_likelier(
    p: float, current: int, label: str
) -> None:
    p_TC = np.array([[p, 1 - p]], np.float32)
    inputs = pa.array([["table"]])
    predicted = Predicted(pa.array([True]), p_TC, np.zeros((1, 0), np.float32), inputs)
    found = tags_of(predicted, CARD, Styles.of(CARD), np.array([0]), np.array([current]))
    assert found["label"].to_pylist() == [label]
    assert found["confidence"].to_pylist() == pytest.approx([p if label == "a" else 1 - p])
    assert [each["label"] for each in found["top"].to_pylist()[0]] == ["a", "b"]
