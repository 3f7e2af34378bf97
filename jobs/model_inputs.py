"""What a model is given of a track: features of the table, and windows of the feature sets in the cache."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, feature_cache, model_versions
from genremill.models.features import TABLE, FeatureSpec
from genremill.models.model_card import ModelCard

WINDOWS = "windows of inputs"
"""The column of a track's windows, array<struct<input: array<float>, …>>; no kept column is named so."""
AUTO = "auto"


@dataclass(frozen=True)
class ModelInputs:
    """The inputs of a model in order, and where they are found.

    `positions` are those of the table's features in `tracks.table_features`, `fingerprints` those of the
    feature sets by name.
    """

    names: tuple[str, ...]
    features: tuple[FeatureSpec, ...]
    positions: tuple[int, ...] = ()
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of the inputs that are no vectors: they have no features by name."""

    @property
    def values(self) -> int:
        """Values of a row of all inputs."""
        return len(self.features) + sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def vectors(self) -> tuple[str, ...]:
        """The inputs that are vectors, in order."""
        return tuple(name for name in self.names if name not in self.shapes)

    @property
    def table_alone(self) -> bool:
        """Whether `tracks` holds all there is to take."""
        return self.names == (TABLE,)

    @property
    def column(self) -> str:
        """The column of a track's inputs: the table's own, or windows."""
        return "table_features" if self.table_alone else WINDOWS

    def made_from(self, warehouse: Warehouse) -> dict[str, str]:
        """The state of the cache that a result depends on, by feature set; nothing for the table."""
        found = {}
        for name, fingerprint in self.fingerprints.items():
            runs = feature_cache.runs_of(warehouse, fingerprint)
            found[name] = f"{fingerprint}: {len(runs)} runs to {runs[-1] if runs else 'none'}"
        return found

    def of_all(self, spark: SparkSession, warehouse: Warehouse, tracks: DataFrame) -> DataFrame:
        """`tracks` with the inputs of each; null windows where a track lacks an input."""
        if self.table_alone:
            return tracks
        windows = self._complete(self._by_set(spark, warehouse, tracks))
        return tracks.join(windows, "track_id", "left")

    def of_complete(self, spark: SparkSession, work: command.Run, tracks: DataFrame) -> DataFrame:
        """The tracks that lack no input, with their inputs, which are kept on disk until the run ends."""
        if self.table_alone:
            return tracks
        by_set = self._by_set(spark, work.warehouse, tracks)
        self._check_windows(by_set)
        path = work.warehouse.tmp(work.run_id, "windows")
        self._complete(by_set).write.mode("overwrite").parquet(path)
        return tracks.join(spark.read.parquet(path), "track_id", "inner")

    def rows(self, pairs: DataFrame) -> DataFrame:
        """One row a pair and `window`, with an array<float> for each input."""
        if self.table_alone:
            return pairs.select("*", self._table().alias(TABLE), F.lit(0).alias("window"))
        windows = pairs.select("*", F.posexplode(WINDOWS).alias("window", "inputs"))
        return windows.select("*", "inputs.*").drop(WINDOWS, "inputs")

    def vector(self) -> Column:
        """All features of a track in order, as one array<float>; means over its windows."""
        if self.table_alone:
            return self._table()
        if not self.vectors:
            return F.array().cast("array<float>")
        flat = F.transform(WINDOWS, lambda window: F.concat(*(window[name] for name in self.vectors)))
        zero = F.array_repeat(F.lit(0.0), len(self.features))
        total = F.aggregate(flat, zero, lambda sums, one: F.zip_with(sums, one, lambda a, b: a + b))
        return F.transform(total, lambda one: (one / F.size(WINDOWS)).cast("float"))

    def _table(self) -> Column:
        return F.array(*(F.get("table_features", F.lit(at)) for at in self.positions))

    def _by_set(self, spark: SparkSession, warehouse: Warehouse, tracks: DataFrame) -> DataFrame:
        """Tracks that have windows of all sets, in a column for each."""
        tracks = tracks.select("track_id", "audio_uri", "table_features")
        found = tracks
        for name, fingerprint in self.fingerprints.items():
            rows = feature_cache.rows_of(spark, warehouse, fingerprint)
            windows = feature_cache.windows_by_track(tracks, rows).withColumnRenamed("windows", name)
            found = found.join(windows, "track_id", "inner")
        return found

    def _numbers(self) -> list[Column]:
        """The number of windows of each set."""
        return [F.size(name) for name in self.fingerprints]

    def _fit_together(self) -> Column:
        """Whether each set has as many windows as the one with most, or one."""
        most = functools.reduce(F.greatest, self._numbers())
        return functools.reduce(Column.__and__, [number.isin(1, most) for number in self._numbers()])

    def _check_windows(self, by_set: DataFrame) -> None:
        """Raises where the sets of a track have different numbers of windows, and none of them has one."""
        odd = by_set.where(~self._fit_together()).select("track_id", *self._numbers()).first()
        if odd is not None:
            counts = ", ".join(
                f"{count} of {name}" for name, count in zip(self.fingerprints, odd[1:], strict=True)
            )
            raise UsageError(
                f"--inputs {'+'.join(self.names)}: track {odd[0]!r} has {counts} windows; expected equal "
                "numbers, or one: `genremill extract` takes the same --windows and --seconds for each set"
            )

    def _complete(self, by_set: DataFrame) -> DataFrame:
        """(track_id, `WINDOWS`) of the tracks that lack no input; what there is once is in every window."""
        complete = self._fit_together()
        if TABLE in self.names:
            complete &= F.size("table_features") > 0
        most = functools.reduce(F.greatest, self._numbers())

        def window(at: Column) -> Column:
            parts = {
                name: F.get(name, F.when(F.size(name) == 1, 0).otherwise(at)) for name in self.fingerprints
            }
            parts |= {TABLE: self._table()} if TABLE in self.names else {}
            return F.struct(*(parts[name].alias(name) for name in self.names))

        windows = F.transform(F.sequence(F.lit(0), most - 1), window)
        return by_set.where(complete).select("track_id", windows.alias(WINDOWS))


def chosen(
    warehouse: Warehouse, tracks: Snapshot, asked: str | None, takes: str | None, use_popularity: bool
) -> ModelInputs:
    """The inputs that a flag asks for; without one the feature set in `takes`, the table or the one set."""
    names = _names(warehouse, tracks, asked, takes)
    table = [
        (at, FeatureSpec(one["name"], one["kind"] == "categorical", one["is_popularity"]))
        for at, one in enumerate(tracks.details["features"])
        if use_popularity or not one["is_popularity"]
    ]
    if TABLE in names and not table:
        raise UsageError(f"the tracks of run {tracks.run_id} have no table features to learn from")
    sets = {name: feature_cache.newest(warehouse, name) for name in names if name != TABLE}
    specs = {
        name: tuple(FeatureSpec(value, categorical=False, input=name) for value in one.value_names)
        for name, one in sets.items()
        if one.is_vector
    } | {TABLE: tuple(spec for _, spec in table)}
    return ModelInputs(
        names,
        tuple(spec for name in names for spec in specs.get(name, ())),
        tuple(at for at, _ in table) if TABLE in names else (),
        {name: one.fingerprint for name, one in sets.items()},
        shapes={name: one.shape for name, one in sets.items() if not one.is_vector},
    )


def of_model(warehouse: Warehouse, tracks: Snapshot, card: ModelCard) -> ModelInputs:
    """What a model takes, found in this warehouse; a fingerprint that it lacks is an error."""
    for name, wanted in card.fingerprints.items():
        found = [one.fingerprint for one in feature_cache.filled_sets(warehouse) if one.name == name]
        if wanted not in found:
            raise UsageError(
                f"the model takes {name} of fingerprint {wanted}, which {warehouse.uri} has no rows of; "
                f"found: {', '.join(found) or 'none'}. Train on those, or extract with the model's settings"
            )
    positions = model_versions.positions(card, tracks)
    return ModelInputs(card.inputs, card.features, positions, card.fingerprints, shapes=card.shapes)


def _names(warehouse: Warehouse, tracks: Snapshot, asked: str | None, takes: str | None) -> tuple[str, ...]:
    asked = asked or takes
    if asked is not None and asked != AUTO:
        names = tuple(asked.split("+"))
        if "" in names or len(set(names)) < len(names):
            raise UsageError(f"--inputs {asked}: expected different names, joined by +")
        return names
    has_table = bool(tracks.details["features"])
    sets = sorted({one.name for one in feature_cache.filled_sets(warehouse)})
    there = ([TABLE] if has_table else []) + sets
    if not there:
        raise UsageError(
            f"the tracks of run {tracks.run_id} have no table features, and {warehouse.uri} has no features "
            "of audio: `genremill extract --audio-root …` makes them"
        )
    if asked == AUTO:
        return tuple(there)
    if not has_table and len(sets) > 1:
        raise UsageError(f"--inputs is needed: one or more of {', '.join(sets)}, joined by +")
    return (there[0],)
