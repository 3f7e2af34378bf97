"""Clusters of genres: sums do not depend on the batches, and separate groups are found by their means."""

import math
from dataclasses import replace

import numpy as np
import pytest

from genremill.infra.errors import UsageError
from genremill.models.genres import partitions as partitions_module
from genremill.models.genres.cluster_method import Method
from genremill.models.genres.clustering import (
    Clustering,
    candidates,
    cluster_genres,
    cluster_names,
    manual_clusters,
    numbered,
)
from genremill.models.genres.genre_lists import REPORT_A_MAP
from genremill.models.genres.partitions import (
    agreement,
    consensus_tree,
    halves,
    halves_agreement,
    partitions,
    resampled,
)
from genremill.models.genres.profiles import Floats, Integers, Profiles, ProfileSums, partial_sums

BUCKETS = 8
FITTED = [method for method in Method if method is not Method.MANUAL]
CENTERS = {"loud": (0.1, 0.1, 0.9), "soft": (0.9, 0.1, 0.1), "fast": (0.1, 0.9, 0.1), "slow": (0.9, 0.9, 0.9)}
GENRES = tuple(f"{center}-{number}" for number in range(3) for center in CENTERS)
TRUE = {genre: genre.split("-")[0] for genre in GENRES}


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions_module, "ROUNDS", 8)
    monkeypatch.setattr(partitions_module, "HALVINGS", 2)
    monkeypatch.setattr(partitions_module, "RESAMPLES", 2)


def pairs(
    genres: tuple[str, ...] = GENRES, each: int = 60, noise: float = 0.05
) -> tuple[Floats, Integers, Integers]:
    """Inputs, genre and bucket of pairs in four well-separated groups of slightly different genres."""
    rng = np.random.default_rng(0)
    genre_N = np.repeat(np.arange(len(genres)), each)
    aside = rng.normal(0, 0.02, (len(genres), 3))
    middle_GD = np.array([CENTERS[TRUE[genre]] for genre in genres]) + aside
    x_ND = middle_GD[genre_N] + rng.normal(0, noise, (len(genre_N), 3))
    return x_ND, genre_N, rng.integers(BUCKETS, size=len(genre_N))


def sums_of(genres: tuple[str, ...] = GENRES, each: int = 60) -> ProfileSums:
    return partial_sums(*pairs(genres, each), genres, BUCKETS)


def groups(assignment: dict[str, int]) -> set[frozenset[str]]:
    """The clusters as sets of genres, without their numbers."""
    found = set(assignment.values())
    return {frozenset(genre for genre, at in assignment.items() if at == number) for number in found}


@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_sums_do_not_depend_on_the_batches(rows: int) -> None:
    x_ND, genre_N, bucket_N = pairs(each=5)
    total = partial_sums(x_ND[:0], genre_N[:0], bucket_N[:0], GENRES, BUCKETS)
    for start in range(0, len(x_ND), rows):
        batch = slice(start, start + rows)
        total += partial_sums(x_ND[batch], genre_N[batch], bucket_N[batch], GENRES, BUCKETS)
    for bucket in range(BUCKETS):
        inside = bucket_N == bucket
        squares_DD = x_ND[inside].T @ x_ND[inside]
        np.testing.assert_allclose(total.squares_BDD[bucket], squares_DD, atol=1e-12)
        for genre in range(len(GENRES)):
            rows_ND = x_ND[inside & (genre_N == genre)]
            assert total.counts_BG[bucket, genre] == len(rows_ND)
            np.testing.assert_allclose(total.sums_BGD[bucket, genre], rows_ND.sum(axis=0), atol=1e-12)


def test_sums_of_different_genres_cannot_be_added() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        sums_of() + replace(sums_of(), genres=GENRES[::-1])


def test_profiles_of_resampled_artists_equal_those_of_repeated_rows() -> None:
    x_ND, genre_N, bucket_N = pairs()
    weights_B = np.array([0, 2, 1, 0, 3, 1, 1, 0])
    repeated = np.repeat(np.arange(len(x_ND)), weights_B[bucket_N])
    profiles = sums_of().profiles(weights_B.astype(float))
    assert profiles.genres == tuple(sorted(GENRES))
    x_ND, genre_N = x_ND[repeated], genre_N[repeated]
    residual_ND = x_ND.copy()
    for at, genre in enumerate(profiles.genres):
        mine = genre_N == GENRES.index(genre)
        assert profiles.counts_G[at] == mine.sum()
        np.testing.assert_allclose(profiles.means_GD[at], x_ND[mine].mean(axis=0))
        residual_ND[mine] -= x_ND[mine].mean(axis=0)
    np.testing.assert_allclose(profiles.within_DD, np.cov(residual_ND.T, bias=True), rtol=1e-9, atol=1e-12)


def test_distances_of_whitened_genres_are_mahalanobis_distances() -> None:
    profiles = sums_of(each=4000).profiles(np.ones(BUCKETS))
    white_GD = profiles.whitened()
    offset_D = profiles.means_GD[0] - profiles.means_GD[1]
    mahalanobis = math.sqrt(offset_D @ np.linalg.solve(profiles.within_DD, offset_D))
    assert math.dist(white_GD[0], white_GD[1]) == pytest.approx(mahalanobis, rel=0.02)


def test_a_genre_of_few_pairs_is_shrunk_toward_the_mean() -> None:
    many = sums_of().profiles(np.ones(BUCKETS))
    few = replace(many, counts_G=np.where(np.arange(len(GENRES)) == 0, 1.0, many.counts_G))
    assert np.linalg.norm(few.whitened()[0]) < 0.5 * np.linalg.norm(many.whitened()[0])


@pytest.mark.parametrize("method", FITTED)
def test_well_separated_groups_of_genres_are_found(method: Method) -> None:
    found = cluster_genres(sums_of(), method, None if method is Method.AFFINITY else 4)
    expected = {frozenset(genre for genre in GENRES if TRUE[genre] == center) for center in CENTERS}
    assert groups(found.assignment) == expected
    assert found.stability == found.bootstrap == 1.0
    assert found.silhouette is not None
    assert found.silhouette > 0.8
    assert [trial.clusters for trial in found.trials] == [4]


@pytest.mark.parametrize("method", FITTED)
def test_a_constant_input_changes_nothing(method: Method) -> None:
    x_ND, genre_N, bucket_N = pairs(noise=0.6)
    clusters = None if method is Method.AFFINITY else 5
    plain = partial_sums(x_ND, genre_N, bucket_N, GENRES, BUCKETS)
    wider_ND = np.hstack([x_ND[:, :1], np.full((len(x_ND), 1), 1e4 / 3), x_ND[:, 1:]])
    wider = partial_sums(wider_ND, genre_N, bucket_N, GENRES, BUCKETS)
    assert (
        cluster_genres(wider, method, clusters).assignment
        == cluster_genres(plain, method, clusters).assignment
    )
    white_GD = wider.profiles(np.ones(BUCKETS)).whitened()
    np.testing.assert_allclose(
        np.delete(white_GD, 1, axis=1), plain.profiles(np.ones(BUCKETS)).whitened(), atol=1e-6
    )
    np.testing.assert_allclose(white_GD[:, 1], 0, atol=1e-6)


@pytest.mark.parametrize("method", FITTED)
def test_neither_the_order_of_genres_nor_a_second_run_changes_anything(method: Method) -> None:
    x_ND, genre_N, bucket_N = pairs(noise=0.6)
    clusters = None if method is Method.AFFINITY else 5
    order = np.random.default_rng(1).permutation(len(GENRES))
    place = np.argsort(order)
    shuffled = tuple(GENRES[at] for at in order)
    first = cluster_genres(partial_sums(x_ND, genre_N, bucket_N, GENRES, BUCKETS), method, clusters)
    second = cluster_genres(partial_sums(x_ND, place[genre_N], bucket_N, shuffled, BUCKETS), method, clusters)
    assert (second.assignment, second.names) == (first.assignment, first.names)
    assert second.stability == pytest.approx(first.stability)


def test_another_seed_draws_other_artists() -> None:
    sums = sums_of()
    one, other = (consensus_tree(sums, np.ones(BUCKETS), seed) for seed in (0, 1))
    assert not np.allclose(one, other)


def test_noise_in_nearly_constant_inputs_affects_kmeans_but_not_consensus() -> None:
    x_ND, genre_N, bucket_N = pairs()
    noise_NC = np.random.default_rng(2).normal(5, 1e-3, (len(x_ND), 40))
    sums = partial_sums(np.hstack([x_ND, noise_NC]), genre_N, bucket_N, GENRES, BUCKETS)
    consensus, kmeans = (
        halves_agreement(sums, method, [4], 0)[0] for method in (Method.CONSENSUS, Method.KMEANS)
    )
    silhouette = cluster_genres(sums, Method.CONSENSUS, 4).silhouette
    assert silhouette is not None
    assert silhouette > 0.7
    assert consensus == 1.0
    assert kmeans < 0.8


def test_partitions_with_different_numbers_of_clusters_are_nested() -> None:
    sums = sums_of()
    found = partitions(sums, np.ones(BUCKETS), Method.CONSENSUS, [1, 4, 7, len(GENRES), 99], 0)
    assert [len(set(partition.values())) for partition in found] == [1, 4, 7, len(GENRES), len(GENRES)]
    assert all(any(small <= large for large in groups(found[1])) for small in groups(found[2]))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11])
@pytest.mark.parametrize("method", FITTED)
def test_few_genres_are_clustered_too(method: Method, count: int) -> None:
    found = cluster_genres(sums_of(GENRES[:count], each=3), method)
    assert sorted(found.assignment) == sorted(GENRES[:count])
    assert set(found.assignment.values()) == set(range(len(found.names)))
    if method is not Method.AFFINITY:
        assert len(found.names) == max(count // 2, 1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore:All samples")
@pytest.mark.parametrize("method", FITTED)
def test_genres_of_one_pair_or_of_identical_means_are_clustered_too(method: Method) -> None:
    genres = GENRES[:6]
    single = cluster_genres(sums_of(genres, each=1), method)
    x_ND, genre_N, bucket_N = pairs(genres)
    alike = partial_sums(np.full_like(x_ND, 0.5), genre_N, bucket_N, genres, BUCKETS)
    same, again = (cluster_genres(alike, method) for _ in range(2))
    assert same.assignment == again.assignment
    for found in (single, same):
        assert sorted(found.assignment) == sorted(genres)
        assert found.silhouette is None or math.isfinite(found.silhouette)
        assert found.stability is not None
        assert math.isfinite(found.stability)


def test_artists_in_a_single_bucket_have_no_stability() -> None:
    x_ND, genre_N, bucket_N = pairs()
    found = cluster_genres(
        partial_sums(x_ND, genre_N, bucket_N * 0, GENRES, BUCKETS), Method.CONSENSUS, clusters=4
    )
    assert found.stability == 0.0


def test_a_genre_without_a_pair_is_in_no_cluster() -> None:
    x_ND, genre_N, bucket_N = pairs()
    sums = partial_sums(x_ND, genre_N, bucket_N, (*GENRES, "unused"), BUCKETS)
    assert sorted(cluster_genres(sums, Method.CONSENSUS, 4).assignment) == sorted(GENRES)


def test_impossible_numbers_of_clusters_are_errors() -> None:
    sums = sums_of()
    for clusters in (0, 13):
        with pytest.raises(UsageError, match=f"--clusters {clusters}: expected 1 to 12"):
            cluster_genres(sums, Method.CONSENSUS, clusters)
    with pytest.raises(UsageError, match="affinity chooses the number itself"):
        cluster_genres(sums, Method.AFFINITY, 4)
    with pytest.raises(UsageError, match="expected --map"):
        cluster_genres(sums, Method.MANUAL, 4)
    with pytest.raises(UsageError, match=r"no \(track, genre\) pair"):
        cluster_genres(replace(sums, counts_BG=0 * sums.counts_BG), Method.CONSENSUS)


def test_the_most_stable_number_is_chosen() -> None:
    genres = tuple(f"{word}-{number:02}" for number in range(26) for word in "ab")
    rng = np.random.default_rng(3)
    genre_N = np.repeat(np.arange(52), 40)
    x_ND = np.eye(13)[genre_N // 4] + rng.normal(0, 0.05, (len(genre_N), 13))
    sums = partial_sums(x_ND, genre_N, rng.integers(BUCKETS, size=len(genre_N)), genres, BUCKETS)
    found = cluster_genres(sums, Method.AGGLOMERATIVE)
    assert [trial.clusters for trial in found.trials] == list(candidates(52))
    assert len(found.names) == 13
    assert found.stability == max(trial.stability for trial in found.trials) == 1.0


def test_halves_have_no_common_artist_and_contain_all_artists() -> None:
    for first_B, second_B in halves(sums_of(), seed=0):
        assert (first_B + second_B).tolist() == [1.0] * BUCKETS
        assert first_B.sum() == BUCKETS // 2


def test_resampled_artists_keep_their_weight_on_average() -> None:
    drawn_RB = resampled(np.array([1.0, 0.0, 2.0]), 4000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn_RB.mean(axis=0), [1, 0, 2], atol=0.1)


def test_agreement_is_over_common_genres() -> None:
    one = {"a": 0, "b": 0, "c": 1, "d": 1}
    assert agreement(one, {"a": 0, "b": 1, "c": 0, "d": 1}) < 0
    assert agreement(one, {"a": 1, "b": 1, "c": 0, "d": 0, "e": 1}) == 1
    assert agreement(one, {"e": 0}) == 0


def test_clusters_are_numbered_by_size_and_then_name() -> None:
    cluster_of = {"a": "x", "c": "y", "d": "y", "b": "z", "e": "z"}
    assert numbered(cluster_of) == {"a": 2, "b": 0, "c": 1, "d": 1, "e": 0}


def test_clusters_are_named_after_their_central_genres() -> None:
    genres = ("a", "a / b", "b", "c", "d", "e")
    points_GD = np.array([[0.0], [100], [1], [10], [11], [13.5]])
    profiles = Profiles(genres, np.array([1.0, 1, 1, 1, 1, 1]), points_GD, np.eye(1))
    assignment = {"a": 2, "a / b": 3, "b": 2, "c": 0, "d": 0, "e": 0}
    assert cluster_names(profiles, points_GD, assignment | {"a": 1, "b": 1, "a / b": 2}) == (
        "d / c / e",
        "a / b",
        "a / b (2)",
    )
    heavy = replace(profiles, counts_G=np.array([1.0, 1, 1, 1, 1, 100]))
    assert cluster_names(heavy, points_GD, dict.fromkeys(genres, 0) | {"a / b": 1})[0] == "e / d / c"


def test_genres_that_the_map_omits_have_no_cluster_and_unknown_ones_are_reported() -> None:
    found = manual_clusters(
        sums_of(), {"loud-0": "Noise", "loud-1": "Noise", "soft-0": "Calm", "polka": "Calm"}
    )
    assignment = {"loud-0": 0, "loud-1": 0, "soft-0": 1}
    names, silhouette = ("Noise", "Calm"), found.silhouette
    assert found == Clustering(Method.MANUAL, assignment, names, silhouette, unknown=("polka",))
    assert found.silhouette is not None
    with pytest.raises(UsageError, match="lists none of the 12 genres"):
        manual_clusters(sums_of(), {"polka": "Calm"})


def test_the_map_of_report_a_has_five_groups() -> None:
    sizes = {group: list(REPORT_A_MAP.values()).count(group) for group in set(REPORT_A_MAP.values())}
    assert sizes == {"electronic": 25, "rock": 13, "latin": 10, "pop": 9, "country": 8}
    assert (REPORT_A_MAP["latino"], REPORT_A_MAP["songwriter"]) == ("latin", "country")
    assert "hip-hop" not in REPORT_A_MAP
