"""Which tracks have no features of their current audio, and whether `extract` copies or computes them.

Audio is unchanged if its (audio_uri, etag) is unchanged. On S3, an equal (etag, size) under another key is
the same audio; on a file system, all paths of a file are. The same audio is decoded only once.
"""

from pyspark.sql import Column, DataFrame, Window, functions as F

from genremill.infra.audio.faults import OF_THE_STORAGE, PASSING
from genremill.jobs.contracts import FEATURES, REJECTS

STAGE = "extract"
"""Value of `stage` in the rejects of audio."""
_OF_THE_AUDIO = [name for name in FEATURES.schema.names if name not in ("track_id", "audio_uri")]


def content() -> Column:
    """A key of the audio: equal for equal audio."""
    on_s3 = F.col("audio_uri").rlike("(?i)^s3a?://")
    place = F.when(on_s3, F.col("size").cast("string")).otherwise(F.col("audio_uri"))
    return F.concat_ws("\n", "etag", place)


def missing(tracks: DataFrame, objects: DataFrame, rows: DataFrame, rejects: DataFrame) -> DataFrame:
    """Tracks whose readable audio has neither features nor a reject yet, with its `content` and `source`.

    `rows` are the rows of the cache, and `rejects` those of this fingerprint. Tracks with equal audio have
    the same `source`: the only object that has to be decoded.
    """
    readable = objects.where(F.col("reason").isNull()).select("audio_uri", "etag", "size", "file")
    with_audio = tracks.join(readable, "audio_uri", "inner")
    new = with_audio.join(held(rows), ["track_id", "audio_uri", "etag"], "left_anti")
    known = rejects.where(~F.col("reason").isin(*PASSING)).alias("known")
    is_same_audio = (F.col("track_id") == F.col("key")) & (F.col("new.etag") == F.col("known.etag"))
    bad = is_same_audio & _is_about(F.col("detail"), F.col("audio_uri"))
    new = new.alias("new").join(known, bad, "left_anti").withColumn("content", content())
    same_audio = Window.partitionBy("etag", "size", "file")
    return new.withColumn("source", F.min("audio_uri").over(same_audio)).drop("file")


def _is_about(detail: Column, uri: Column) -> Column:
    """Whether the detail of a reject begins with this URI."""
    return detail.startswith(F.concat(uri, F.lit(": ")))


def held(rows: DataFrame) -> DataFrame:
    """(track_id, audio_uri, etag) of the audio whose features readers get: the audio of the newest run."""
    return rows.groupBy("track_id", "audio_uri").agg(F.max_by("etag", "run").alias("etag"))


def copies(tracks: DataFrame, rows: DataFrame) -> DataFrame:
    """Rows of `features` for tracks whose audio is in the cache under another track or key."""
    cached = rows.withColumn("content", content())
    donors = cached.groupBy("content").agg(F.max(F.struct("run", "track_id")).alias("donor"))
    donated = cached.join(donors, "content", "inner").where(F.struct("run", "track_id") == F.col("donor"))
    donated = donated.groupBy("content", "window").agg(F.first(F.struct(*_OF_THE_AUDIO)).alias("row"))
    copied = tracks.select("track_id", "audio_uri", "content").join(donated, "content", "inner")
    return copied.select("track_id", "audio_uri", "row.*").select(*FEATURES.schema.names)


def of_tracks(extracted: DataFrame, tracks: DataFrame) -> DataFrame:
    """The extracted rows and the rejects, for each track that has this audio."""
    extracted = extracted.withColumnRenamed("audio_uri", "source")
    return extracted.join(
        tracks.select("track_id", "audio_uri", "source", "etag"), ["source", "etag"], "inner"
    )


def rejects_of(rejected: DataFrame, fingerprint: str, decoder: str, run_id: str) -> DataFrame:
    """Rows of `rejects`."""
    is_whole = F.col("reason").isin(*OF_THE_STORAGE) | _is_about(F.col("detail"), F.col("audio_uri"))
    columns = {
        "stage": F.lit(STAGE),
        "key": F.col("track_id"),
        "reason": F.col("reason"),
        "detail": F.when(is_whole, F.col("detail")).otherwise(F.concat_ws(": ", "audio_uri", "detail")),
        "etag": F.col("etag"),
        "fingerprint": F.lit(fingerprint),
        "run_id": F.lit(run_id),
        "decoder": F.when(~F.col("reason").isin(*OF_THE_STORAGE), F.lit(decoder)),
    }
    return rejected.select(*(columns[name].alias(name) for name in REJECTS.schema.names))


def new_rejects(results: DataFrame, before: DataFrame) -> DataFrame:
    """The rejected results that no earlier run has written for the same object, URI and reason."""
    rejected = results.where(F.col("reason").isNotNull()).alias("new")
    same = (
        (F.col("track_id") == F.col("key"))
        & (F.col("new.reason") == F.col("old.reason"))
        & F.col("new.etag").eqNullSafe(F.col("old.etag"))
        & (F.col("new.reason").isin(*OF_THE_STORAGE) | _is_about(F.col("old.detail"), F.col("audio_uri")))
    )
    return rejected.join(before.alias("old"), same, "left_anti")
