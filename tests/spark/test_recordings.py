"""Connected components: each node of a graph gets the smallest node that it is connected to."""

import itertools
import random

import pytest
from pyspark.sql import DataFrame, SparkSession

from genremill.jobs.catalog.recordings import connected_components

SHAPES: dict[str, list[tuple[int, int]]] = {
    "a chain": [(at, at + 1) for at in range(100)],
    "a chain in random order": [(at * 7919 % 101, (at + 1) * 7919 % 101) for at in range(100)],
    "a cycle": [(at, (at + 1) % 10) for at in range(10)],
    "a clique": list(itertools.combinations(range(6), 2)),
    "a star around its largest node": [(at, 99) for at in range(9)],
    "two components": [(1, 2), (2, 3), (10, 11)],
    "negative nodes": [(-5, 3), (3, -9)],
    "doubled edges and self loops": [(1, 2), (2, 1), (1, 1), (4, 4)],
}


def _expected(edges: list[tuple[int, int]]) -> dict[int, int]:
    """The components, computed with union-find."""
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    for u, v in edges:
        if u != v:
            low, high = sorted((root(u), root(v)))
            parent[high] = low
    return {node: root(node) for node in parent}


def _components(spark: SparkSession, edges: list[tuple[int, int]]) -> dict[int, int]:
    def checkpoint(df: DataFrame, name: str) -> DataFrame:
        return df.localCheckpoint()

    df = connected_components(spark.createDataFrame(edges, "u long, v long"), checkpoint, "test")
    components = {row["node"]: row["component"] for row in df.collect()}
    return components | {component: component for component in components.values()}


@pytest.mark.parametrize("shape", SHAPES)
def test_components_equal_those_of_union_find(spark: SparkSession, shape: str) -> None:
    assert _components(spark, SHAPES[shape]) == _expected(SHAPES[shape])


def test_components_of_random_graphs_equal_those_of_union_find(spark: SparkSession) -> None:
    rng = random.Random(3)
    edges = [(rng.randrange(300), rng.randrange(300)) for _ in range(160)]
    assert _components(spark, edges) == _expected(edges)
