"""Too many genres to cluster each as one point: they are clustered in groups, whose sums are exact."""

from typing import Any

import numpy as np
import pytest

from genremill.models.genres import clustering, partitions as partitions_module
from genremill.models.genres.cluster_method import Method
from genremill.models.genres.clustering import cluster_genres, fine_groups
from genremill.models.genres.partitions import Partition, points
from genremill.models.genres.profiles import ProfileSums, partial_sums

BUCKETS, GENRES, MOST = 8, 300, 40
CENTERS_HD = np.array([(0.1, 0.1, 0.9), (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.9, 0.9, 0.9)])
NAMES = tuple(f"genre {at:03}" for at in range(GENRES))


@pytest.fixture(autouse=True)
def _few_points_and_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "MOST_POINTS", MOST)
    monkeypatch.setattr(partitions_module, "ROUNDS", 4)
    monkeypatch.setattr(partitions_module, "HALVINGS", 2)
    monkeypatch.setattr(partitions_module, "RESAMPLES", 2)


def _sums(group_N: np.ndarray | None = None, names: tuple[str, ...] = NAMES) -> ProfileSums:
    """Sums of 20 pairs per genre around four centers in turn; `group_N` replaces the genres."""
    rng = np.random.default_rng(0)
    genre_N = np.repeat(np.arange(GENRES), 20)
    x_ND = CENTERS_HD[genre_N % 4] + rng.normal(0, 0.05, (len(genre_N), 3))
    bucket_N = rng.integers(BUCKETS, size=len(genre_N))
    return partial_sums(x_ND, genre_N if group_N is None else group_N, bucket_N, names, BUCKETS)


def test_sums_of_groups_equal_those_of_pairs_labeled_by_group() -> None:
    groups = ("even", "odd")
    found = _sums().grouped({name: groups[at % 2] for at, name in enumerate(NAMES) if at < 290})
    genre_N = np.repeat(np.arange(GENRES), 20)
    expected = _sums(np.where(genre_N < 290, genre_N % 2, 2), (*groups, "neither"))
    assert found.genres == groups
    np.testing.assert_allclose(found.counts_BG, expected.counts_BG[:, :2])
    np.testing.assert_allclose(found.sums_BGD, expected.sums_BGD[:, :2])


@pytest.mark.parametrize("method", [Method.CONSENSUS, Method.KMEANS, Method.AGGLOMERATIVE])
def test_clusters_of_groups_equal_those_of_genres(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(sums: ProfileSums, *rest: Any) -> list[Partition]:
        seen.append(len(sums.genres))
        return partitions_module.partitions(sums, *rest)

    monkeypatch.setattr(clustering, "partitions", counted)
    found = cluster_genres(_sums(), method, clusters=4)
    assert seen == [MOST]
    assert list(found.assignment) == list(NAMES)
    by_center = [{found.assignment[name] for name in NAMES[at::4]} for at in range(4)]
    assert sorted(map(len, by_center)) == [1, 1, 1, 1]
    assert set.union(*by_center) == {0, 1, 2, 3}
    assert all(name.count("genre") == 3 for name in found.names)


def test_the_number_of_points_grows_with_the_number_of_clusters() -> None:
    assert len(cluster_genres(_sums(), Method.KMEANS, clusters=60).names) == 60


def test_a_group_is_named_after_its_first_genre_and_few_genres_are_not_grouped() -> None:
    profiles = _sums().profiles(np.ones(BUCKETS))
    x_GD = points(profiles, Method.CONSENSUS)
    groups = fine_groups(profiles, x_GD, 4, 0)
    assert groups == {name: f"genre {at % 4:03}" for at, name in enumerate(NAMES)}
    assert fine_groups(profiles, x_GD, GENRES, 0) == {name: name for name in NAMES}


def test_ten_thousand_genres_are_clustered_although_one_has_two_fifths_of_the_pairs() -> None:
    rng = np.random.default_rng(0)
    names = tuple(f"genre {at:05}" for at in range(10_000))
    genre_N = np.concatenate([np.arange(30_000) % 10_000, np.zeros(20_000, int)])
    x_ND = CENTERS_HD[genre_N % 4] + rng.normal(0, 0.1, (50_000, 3))
    sums = partial_sums(x_ND, genre_N, rng.integers(BUCKETS, size=50_000), names, BUCKETS)
    found = cluster_genres(sums, Method.CONSENSUS, clusters=4)
    assert list(found.assignment) == list(names)
    centers = {(at % 4, number) for at, number in enumerate(found.assignment.values())}
    assert len(centers) == 4
