"""The inputs of a model: table features and texts of a track, and windows of feature sets."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import TEXT_MAPS
from genremill.jobs.features.cache import CachedSet
from genremill.jobs.features.track_vectors import TrackVectors
from genremill.models.encoders.text_tokens import FIELDS, text_columns, text_width
from genremill.models.features import (
    TABLE,
    TEXT,
    WINDOWS,
    FeatureSpec,
    Positions,
    TextKind,
    text_kind,
)


def _features_at(positions: Positions) -> list[Column]:
    """The values of a track's features; null if missing."""
    return [
        F.lit(None).cast("float") if position is None else F.get("table_features", F.lit(position))
        for position in positions
    ]


def text_values(name: str) -> list[Column]:
    """The texts or the tags of a track in one input, null if it has none; empty if the input is no text."""
    key = name.partition(":")[2]
    return [F.col(column)[key] if column in TEXT_MAPS else F.col(column) for column in text_columns([name])]


def _has_any(positions: Positions) -> Column:
    """Whether a track has at least one of the features."""
    return F.coalesce(F.lit(None), *_features_at(positions)).isNotNull()


@dataclass(frozen=True)
class ModelInputs:
    """The inputs of a model, in order, and where they are stored."""

    names: tuple[str, ...]
    features: tuple[FeatureSpec, ...]
    positions: Positions = ()
    """Positions of the table's features in `tracks.table_features`."""
    sets: Mapping[str, CachedSet | TrackVectors] = field(default_factory=dict)
    """The feature sets, by name: of audio, with the runs whose rows are read, or of the track table."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of the inputs that are not vectors: their values have no names."""
    partial: bool = False
    """Whether the model accepts tracks that have only some of the inputs."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each feature set."""
        return {name: cached.fingerprint for name, cached in self.sets.items()}

    @property
    def values(self) -> int:
        """Number of values in a row of all inputs."""
        shaped = sum(math.prod(shape) for shape in self.shapes.values())
        return len(self.features) + shaped + sum(map(text_width, self.texts.values()))

    @property
    def vectors(self) -> tuple[str, ...]:
        """The inputs that are vectors, in order."""
        return tuple(name for name in self.names if name not in self.shapes and name not in self.texts)

    @property
    def texts(self) -> dict[str, TextKind]:
        """The inputs that are text, in order."""
        return {name: kind for name in self.names if (kind := text_kind(name))}

    @property
    def columns(self) -> list[str]:
        """The columns that hold a track's inputs."""
        table = ["table_features"] if TABLE in self.names else []
        text = text_columns(self.names)
        return table + text + ([WINDOWS] if self.sets else [])

    @property
    def made_from(self) -> dict[str, str]:
        """The fingerprint and the runs of each feature set, and the kind of each column of text or tags."""
        columns = {name: kind.value for name, kind in self.texts.items() if name != TEXT}
        return columns | {name: cached.state for name, cached in self.sets.items()}

    def with_inputs(self, spark: SparkSession, tracks: DataFrame) -> DataFrame:
        """All `tracks` with their inputs; windows are null if the model cannot use the track's windows."""
        windows = self._windows(self._by_set(spark, tracks)) if self.sets else None
        return tracks.join(windows, "track_id", "left") if windows else tracks

    def usable_with_inputs(self, spark: SparkSession, work: command.Run, tracks: DataFrame) -> DataFrame:
        """The tracks that the model can use, with their inputs, which are kept on disk until the run ends."""
        if not self.sets:
            return tracks.where(self.usable())
        by_set = self._by_set(spark, tracks)
        self._check_windows(by_set)
        windows = snapshots.checkpoint(work, self._windows(by_set), "windows")
        return tracks.join(windows, "track_id", "left").where(self.usable())

    def usable(self) -> Column:
        """Whether a track has the inputs that the model needs."""
        conditions = {
            TABLE: _has_any(self.positions),
            TEXT: F.length(F.concat_ws("", *FIELDS)) > 0,
        }
        conditions |= {name: text_values(name)[0].isNotNull() for name in self.texts if name != TEXT}
        needed = [conditions[name] for name in self.names if name in conditions]
        needed += [F.col(WINDOWS).isNotNull()] if self.sets else []
        return functools.reduce(Column.__or__ if self.partial else Column.__and__, needed)

    def rows(self, pairs: DataFrame) -> DataFrame:
        """One row per pair and `window`, with an array<float> per input except text; NaN if it is missing."""
        if not self.sets:
            return pairs.select("*", *self._of_track().values(), F.lit(0).alias("window"))
        exploded = F.posexplode_outer(WINDOWS).alias("position", "inputs")
        windows = pairs.select("*", *self._of_track().values(), exploded)
        sets = (F.coalesce(F.col("inputs")[name], self._missing(name)).alias(name) for name in self.sets)
        window = F.coalesce("position", F.lit(0)).alias("window")
        return windows.select("*", *sets, window).drop(WINDOWS, "inputs", "position")

    def vector(self) -> Column:
        """All features of a track in order, one array<float>: means over its windows, NaN without any."""
        means = {name: self._mean(name) for name in self.sets if name in self.vectors}
        parts = self._of_track()
        parts |= {name: F.coalesce(mean, self._missing(name)) for name, mean in means.items()}
        return F.concat(*(parts[name] for name in self.names if name in parts))

    def _mean(self, name: str) -> Column:
        """The mean of a set's windows, null if there are none."""
        windows = F.transform(WINDOWS, lambda window: window[name])
        zero = F.array_repeat(F.lit(0.0), self._width(name))
        total = F.aggregate(windows, zero, lambda sums, values: F.zip_with(sums, values, lambda a, b: a + b))
        return F.transform(total, lambda value: (value / F.size(WINDOWS)).cast("float"))

    def _of_track(self) -> dict[str, Column]:
        """The table's features of a track, by input; empty if the model does not use the table."""
        missing = F.lit(math.nan).cast("float")
        values = (F.coalesce(value, missing) for value in _features_at(self.positions))
        return {TABLE: F.array(*values).alias(TABLE)} if TABLE in self.names else {}

    def _width(self, name: str) -> int:
        return sum(feature.input == name for feature in self.features)

    def _missing(self, name: str) -> Column:
        return F.array_repeat(F.lit(math.nan).cast("float"), self._width(name))

    def _by_set(self, spark: SparkSession, tracks: DataFrame) -> DataFrame:
        """Tracks with a column of windows for each set; only a partial model gets tracks without some."""
        tracks = tracks.select("track_id", "audio_uri")
        by_set = tracks
        for name, cached in self.sets.items():
            renamed = cached.windows(spark, tracks).withColumnRenamed("windows", name)
            by_set = by_set.join(renamed, "track_id", "left" if self.partial else "inner")
        return by_set

    def _counts(self) -> list[Column]:
        """The number of windows of each set; 0 if the track has none."""
        return [F.coalesce(F.size(name), F.lit(0)) for name in self.sets]

    def _most(self) -> Column:
        return functools.reduce(F.greatest, self._counts())

    def _fit_together(self) -> Column:
        """Whether each set has no window, one window, or as many windows as the set with the most."""
        most = self._most()
        return functools.reduce(Column.__and__, [count.isin(0, 1, most) for count in self._counts()])

    def _check_windows(self, by_set: DataFrame) -> None:
        """Raises if the numbers of windows of a track's sets differ, and the smaller number is not 1."""
        odd = by_set.where(~self._fit_together()).select("track_id", *self._counts()).first()
        if odd is not None:
            counts = ", ".join(f"{count} of {name}" for name, count in zip(self.sets, odd[1:], strict=True))
            raise UsageError(
                f"--inputs {'+'.join(self.names)}: track {odd[0]!r} has {counts} windows; expected equal "
                "numbers, or one. Run `genremill extract` with the same --windows and --seconds for each set"
            )

    def _windows(self, by_set: DataFrame) -> DataFrame:
        """(track_id, `WINDOWS`) of the tracks that have any; a set's only window is repeated."""
        most = self._most()

        def window(number: Column) -> Column:
            numbers = {name: F.when(F.size(name) == 1, 0).otherwise(number) for name in self.sets}
            return F.struct(*(F.get(name, numbers[name]).alias(name) for name in self.sets))

        windows = F.transform(F.sequence(F.lit(0), most - 1), window)
        return by_set.where(self._fit_together() & (most > 0)).select("track_id", windows.alias(WINDOWS))
