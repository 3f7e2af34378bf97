"""Sums for genre profiles: one row per bucket of artists, however large the table is.

Shape suffixes: N pairs of a batch, F raw features, D encoded inputs, B buckets, G genres.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genremill.models.encoders.table import TableEncoder
from genremill.models.features import Scaling
from genremill.models.genres.profiles import Floats, ProfileSums, partial_sums, with_spread
from genremill.udfs.arrow_rows import BatchFunction
from genremill.udfs.model_rows import feature_rows

COLUMNS = ["bucket", "counts", "sums", "squares", "lacking"]
SCHEMA = "bucket int, counts binary, sums binary, squares binary, lacking binary"


def encoded(encoder: TableEncoder, x_NF: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The inputs of profiles: ranks and their squares, or raw values; then indicators. NaN if missing."""
    rows = torch.from_numpy(x_NF)
    one_hot = encoder.indicators(rows).numpy()
    one_hot[np.isnan(x_NF)[:, encoder.category_feature_C.numpy()]] = np.nan
    raw_NF = encoder.limited(rows).numpy().astype(np.float64)
    if encoder.scaling is Scaling.RANK:
        rank_NF = encoder.numeric(rows).numpy().astype(np.float64)
        rank_NF[np.isnan(raw_NF)] = np.nan
        squared_F = np.array([not feature.is_popularity for feature in encoder.numeric_features], dtype=bool)
        return np.hstack([with_spread(rank_NF, squared_F), one_hot])
    return np.hstack([raw_NF, one_hot])


def encoded_names(encoder: TableEncoder) -> list[str]:
    """Names of the encoded inputs, in the order of `encoded`."""
    names = encoder.encoded_names
    numeric, one_hot = names[: encoder.numeric_count], names[encoder.numeric_count :]
    if encoder.scaling is Scaling.RANK:
        squared = [feature.name for feature in encoder.numeric_features if not feature.is_popularity]
        numeric = [f"rank of {name}" for name in numeric] + [f"squared rank of {name}" for name in squared]
    return numeric + one_hot


def make_sum(
    encoder: TableEncoder, positions: tuple[int, ...], genres: tuple[str, ...], means_GD: Floats
) -> BatchFunction:
    """A `mapInArrow` function from (genre, bucket, values) to `SCHEMA`, one row per bucket.

    `means_GD` are the encoded inputs that replace missing ones.
    """
    known = pa.array(genres, pa.string())

    def sum_up(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        # Only the buckets of this task: for 10,000 genres, all buckets would need 0.2 GB.
        totals: dict[int, ProfileSums] = {}
        for batch in batches:
            x_NF, has_N = feature_rows(batch.column("values"), positions)
            has = pa.array(has_N)
            genre_N = pc.index_in(batch.column("genre").filter(has), known).to_numpy().astype(np.int64)
            seen_B, bucket_N = np.unique(batch.column("bucket").filter(has), return_inverse=True)
            part = partial_sums(encoded(encoder, x_NF), genre_N, bucket_N, genres, len(seen_B), means_GD)
            for index, bucket in enumerate(seen_B.tolist()):
                sums = part.of_bucket(index)
                totals[bucket] = totals[bucket] + sums if bucket in totals else sums
        for bucket, total in totals.items():
            numbers = (total.counts_BG, total.sums_BGD, total.squares_BDD, total.lacking_BDD)
            arrays = [pa.array([bucket], pa.int32()), *(pa.array([part.tobytes()]) for part in numbers)]
            yield pa.RecordBatch.from_arrays(arrays, names=COLUMNS)

    return sum_up


def gather(
    rows: Iterable[tuple[int, bytes, bytes, bytes, bytes]], genres: tuple[str, ...], width: int, buckets: int
) -> ProfileSums:
    """The sums of all buckets, from the rows of all partitions."""
    shapes = (len(genres),), (len(genres), width), (width, width), (width, width)
    totals = [np.zeros((buckets, *shape)) for shape in shapes]
    for bucket, *parts in rows:
        for total, shape, part in zip(totals, shapes, parts, strict=True):
            total[bucket] += np.frombuffer(part).reshape(shape)
    return ProfileSums(genres, *totals)
