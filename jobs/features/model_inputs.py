"""What a model is given of a track: features of the table, names, windows of feature sets in the cache."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, model_registry, snapshots
from genremill.jobs.features import artists, cache as feature_cache
from genremill.jobs.features.artists import Artists
from genremill.jobs.snapshot_details import Kind, TracksDetails
from genremill.models.encoders.text_tokens import FIELDS, TEXT_WIDTH
from genremill.models.features import (
    ARTIST,
    ARTIST_FEATURES,
    TABLE,
    TEXT,
    WINDOWS,
    FeatureSpec,
    artist_features,
)
from genremill.models.model_card import ModelCard

if TYPE_CHECKING:
    from genremill.models.zoo import Entry

AUTO = "auto"


@dataclass(frozen=True)
class ModelInputs:
    """The inputs of a model in order, and where they are found.

    `positions` are those of the table's features in `tracks.table_features`, `fingerprints` those of the
    feature sets by name. What may be `partial` is a track's inputs: a model that takes whatever there is gets
    the tracks that have any of them, others those that have all.
    """

    names: tuple[str, ...]
    features: tuple[FeatureSpec, ...]
    positions: tuple[int, ...] = ()
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of the inputs that are no vectors: they have no features by name."""
    partial: bool = False
    artists: Artists | None = None
    """Where the tracks of all artists are found; None where the model takes nothing of them."""

    @property
    def values(self) -> int:
        """Values of a row of all inputs."""
        shaped = sum(math.prod(shape) for shape in self.shapes.values())
        return len(self.features) + shaped + (TEXT_WIDTH if TEXT in self.names else 0)

    @property
    def vectors(self) -> tuple[str, ...]:
        """The inputs that are vectors, in order."""
        return tuple(name for name in self.names if name not in self.shapes and name != TEXT)

    @property
    def columns(self) -> list[str]:
        """The columns that hold a track's inputs."""
        own = ["table_features"] if TABLE in self.names else []
        names = list(FIELDS) if TEXT in self.names else []
        artist = [ARTIST_FEATURES] if self.artists else []
        return own + artist + names + ([WINDOWS] if self.fingerprints else [])

    @property
    def has_windows(self) -> bool:
        """Whether a track may have several rows for the network."""
        return bool(self.fingerprints)

    def made_from(self, warehouse: Warehouse) -> dict[str, str]:
        """The state of the cache that a result depends on, by feature set; nothing for the table."""
        found = {}
        for name, fingerprint in self.fingerprints.items():
            runs = feature_cache.runs_of(warehouse, fingerprint)
            found[name] = f"{fingerprint}: {len(runs)} runs to {runs[-1] if runs else 'none'}"
        return found

    def of_all(self, spark: SparkSession, warehouse: Warehouse, tracks: DataFrame) -> DataFrame:
        """`tracks` with the inputs of each; null windows where a track has none that the model can take."""
        if self.artists:
            tracks = artists.beside(tracks, self.artists.described(spark))
        if not self.fingerprints:
            return tracks
        windows = self._windows(self._by_set(spark, warehouse, tracks))
        return tracks.join(windows, "track_id", "left")

    def of_usable(self, spark: SparkSession, work: command.Run, tracks: DataFrame) -> DataFrame:
        """The tracks that the model can take; what is joined to them is kept on disk until the run ends."""
        if self.artists:
            described = snapshots.checkpoint(work, self.artists.described(spark), ARTIST)
            tracks = artists.beside(tracks, described)
        if not self.fingerprints:
            return tracks.where(self.usable())
        by_set = self._by_set(spark, work.warehouse, tracks)
        self._check_windows(by_set)
        windows = snapshots.checkpoint(work, self._windows(by_set), "windows")
        return tracks.join(windows, "track_id", "left").where(self.usable())

    def usable(self) -> Column:
        """Whether a track has the inputs that the model needs."""
        has = {
            TABLE: F.coalesce(F.size("table_features") > 0, F.lit(False)),
            ARTIST: F.col(ARTIST_FEATURES).isNotNull(),
            TEXT: F.length(F.concat_ws("", *FIELDS)) > 0,
        }
        found = [has[name] for name in self.names if name in has]
        found += [F.col(WINDOWS).isNotNull()] if self.fingerprints else []
        return functools.reduce(Column.__or__ if self.partial else Column.__and__, found)

    def rows(self, pairs: DataFrame) -> DataFrame:
        """One row a pair and `window`, an array<float> for each input but names: NaN where it lacks one."""
        if not self.fingerprints:
            return pairs.select("*", *self._of_track().values(), F.lit(0).alias("window"))
        exploded = F.posexplode_outer(WINDOWS).alias("at", "inputs")
        windows = pairs.select("*", *self._of_track().values(), exploded)
        sets = (
            F.coalesce(F.col("inputs")[name], self._missing(name)).alias(name) for name in self.fingerprints
        )
        window = F.coalesce("at", F.lit(0)).alias("window")
        return windows.select("*", *sets, window).drop(WINDOWS, "inputs", "at")

    def vector(self) -> Column:
        """All features of a track in order, one array<float>: means over its windows, NaN without any."""
        parts = self._of_track()
        for name in self.fingerprints:
            if name in self.vectors:
                parts[name] = F.coalesce(self._mean(name), self._missing(name))
        return F.concat(*(parts[name] for name in self.names if name in parts))

    def _mean(self, name: str) -> Column:
        """The mean of a set's windows, null where there are none."""
        windows = F.transform(WINDOWS, lambda window: window[name])
        zero = F.array_repeat(F.lit(0.0), self._width(name))
        total = F.aggregate(windows, zero, lambda sums, one: F.zip_with(sums, one, lambda a, b: a + b))
        return F.transform(total, lambda one: (one / F.size(WINDOWS)).cast("float"))

    def _of_track(self) -> dict[str, Column]:
        """The features of the table and of the artist, as far as the model takes them, by input."""
        found = {}
        if TABLE in self.names:
            values = F.array(*(F.get("table_features", F.lit(at)) for at in self.positions))
            filled = F.when(F.size("table_features") > 0, values).otherwise(self._missing(TABLE))
            found[TABLE] = filled.alias(TABLE)
        if self.artists:
            found[ARTIST] = F.coalesce(ARTIST_FEATURES, self._missing(ARTIST)).alias(ARTIST)
        return found

    def _width(self, name: str) -> int:
        return sum(one.input == name for one in self.features)

    def _missing(self, name: str) -> Column:
        return F.array_repeat(F.lit(math.nan).cast("float"), self._width(name))

    def _by_set(self, spark: SparkSession, warehouse: Warehouse, tracks: DataFrame) -> DataFrame:
        """Tracks that have windows of all sets, or where that is enough of some, in a column for each."""
        tracks = tracks.select("track_id", "audio_uri")
        found = tracks
        for name, fingerprint in self.fingerprints.items():
            rows = feature_cache.rows_of(spark, warehouse, fingerprint)
            windows = feature_cache.windows_by_track(tracks, rows).withColumnRenamed("windows", name)
            found = found.join(windows, "track_id", "left" if self.partial else "inner")
        return found

    def _numbers(self) -> list[Column]:
        """The number of windows of each set; 0 of one that a track lacks."""
        return [F.coalesce(F.size(name), F.lit(0)) for name in self.fingerprints]

    def _most(self) -> Column:
        return functools.reduce(F.greatest, self._numbers())

    def _fit_together(self) -> Column:
        """Whether each set has as many windows as the one with most, or one, or is not there."""
        most = self._most()
        return functools.reduce(Column.__and__, [number.isin(0, 1, most) for number in self._numbers()])

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

    def _windows(self, by_set: DataFrame) -> DataFrame:
        """(track_id, `WINDOWS`) of the tracks that have any; a set that has one window is in all of them."""
        most = self._most()

        def window(at: Column) -> Column:
            place = {name: F.when(F.size(name) == 1, 0).otherwise(at) for name in self.fingerprints}
            return F.struct(*(F.get(name, place[name]).alias(name) for name in self.fingerprints))

        windows = F.transform(F.sequence(F.lit(0), most - 1), window)
        return by_set.where(self._fit_together() & (most > 0)).select("track_id", windows.alias(WINDOWS))


def chosen(
    warehouse: Warehouse, tracks: Snapshot, asked: str | None, model: "Entry | None", use_popularity: bool
) -> ModelInputs:
    """The inputs that a flag asks for; without one what the model takes: its feature set, or all there are.

    Without a model it is the table, where it has features, or else the one set.
    """
    partial = model is not None and model.is_partial
    takes = AUTO if partial else model.feature_set if model else None
    names = _names(warehouse, tracks, asked or takes, partial)
    table = [
        (at, FeatureSpec(one.name, one.kind is Kind.CATEGORICAL, one.is_popularity))
        for at, one in enumerate(TracksDetails.of(tracks).features)
        if use_popularity or not one.is_popularity
    ]
    if not table and (TABLE in names or ARTIST in names):
        raise UsageError(f"the tracks of run {tracks.run_id} have no table features to learn from")
    own = (TABLE, ARTIST, TEXT)
    sets = {name: feature_cache.newest(warehouse, name) for name in names if name not in own}
    specs = {
        name: tuple(FeatureSpec(value, categorical=False, input=name) for value in one.value_names)
        for name, one in sets.items()
        if one.is_vector
    } | {
        TABLE: tuple(spec for _, spec in table),
        ARTIST: artist_features([spec for _, spec in table]),
    }
    numeric = tuple(at for at, spec in table if not spec.categorical)
    return ModelInputs(
        names,
        tuple(spec for name in names for spec in specs.get(name, ())),
        tuple(at for at, _ in table) if TABLE in names else (),
        {name: one.fingerprint for name, one in sets.items()},
        {name: one.shape for name, one in sets.items() if not one.is_vector},
        partial,
        Artists(warehouse.path(tracks.path), numeric) if ARTIST in names else None,
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
    positions = model_registry.positions(card, tracks)
    from genremill.models import zoo

    partial = zoo.entry(card.model).is_partial
    described = artists.of_model(warehouse, tracks, card)
    return ModelInputs(
        card.inputs, card.features, positions, card.fingerprints, card.shapes, partial, described
    )


def _names(warehouse: Warehouse, tracks: Snapshot, asked: str | None, partial: bool) -> tuple[str, ...]:
    """The names that a flag gives; `AUTO` stands for all there are, but not for `ARTIST`."""
    named = asked.split("+") if asked is not None else []
    if named and AUTO not in named:
        return _different(asked, named)
    has_table = bool(TracksDetails.of(tracks).features)
    filled = feature_cache.filled_sets(warehouse)
    sets = sorted({one.name for one in filled if one.is_vector or not partial})
    there = ([TABLE] if has_table else []) + ([TEXT] if partial else []) + sets
    if not there:
        raise UsageError(
            f"the tracks of run {tracks.run_id} have no table features, and {warehouse.uri} has no features "
            "of audio: `genremill extract --audio-root …` makes them"
        )
    if named:
        return _different(asked, [name for one in named for name in (there if one == AUTO else [one])])
    if not has_table and len(sets) > 1:
        raise UsageError(f"--inputs is needed: one or more of {', '.join(sets)}, joined by +")
    return (there[0],)


def _different(asked: str | None, names: list[str]) -> tuple[str, ...]:
    if "" in names or len(set(names)) < len(names):
        raise UsageError(f"--inputs {asked}: expected different names, joined by +")
    return tuple(names)
