"""What `extract` has to do: which tracks lack features of their present audio, and where these come from.

Audio is unchanged when its (audio_uri, etag) is; on S3 an equal (etag, size) under another key is the same
audio too. Nothing is decoded twice for that.
"""

from pyspark.sql import Column, DataFrame, Window, functions as F

from genremill.infra.audio_faults import AudioReason
from genremill.jobs.contracts import FEATURES, REJECTS

STAGE = "extract"
"""How rejects of audio name their job."""
_OF_THE_AUDIO = [name for name in FEATURES.columns() if name not in ("track_id", "audio_uri")]


def content() -> Column:
    """What tells one audio from another: equal for equal audio."""
    on_s3 = F.col("audio_uri").rlike("^s3a?://")
    place = F.when(on_s3, F.col("size").cast("string")).otherwise(F.col("audio_uri"))
    return F.concat_ws("\n", "etag", place)


def lacking(tracks: DataFrame, objects: DataFrame, rows: DataFrame, rejects: DataFrame) -> DataFrame:
    """Tracks whose readable audio has neither features nor a reject yet, with the audio's `content`.

    `rows` are those of the cache, `rejects` those of this fingerprint; of equal audio, all tracks name the
    same `source`, the one object to decode.
    """
    readable = objects.where(F.col("reason").isNull()).select("audio_uri", "etag", "size")
    wanted = tracks.join(readable, "audio_uri", "inner")
    new = wanted.join(rows, ["track_id", "audio_uri", "etag"], "left_anti")
    known_bad = rejects.select(F.col("key").alias("track_id"), "etag")
    new = new.join(known_bad, ["track_id", "etag"], "left_anti").withColumn("content", content())
    return new.withColumn("source", F.min("audio_uri").over(Window.partitionBy("content")))


def copies(lack: DataFrame, rows: DataFrame) -> DataFrame:
    """Rows of `features` for tracks whose audio the cache knows under another track or key."""
    known = rows.withColumn("content", content())
    donors = known.groupBy("content").agg(F.max(F.struct("run", "track_id")).alias("donor"))
    donated = known.join(donors, "content", "inner").where(F.struct("run", "track_id") == F.col("donor"))
    donated = donated.groupBy("content", "window").agg(F.first(F.struct(*_OF_THE_AUDIO)).alias("row"))
    found = lack.select("track_id", "audio_uri", "content").join(donated, "content", "inner")
    return found.select("track_id", "audio_uri", "row.*").select(*FEATURES.columns())


def features_of(extracted: DataFrame, lack: DataFrame) -> DataFrame:
    """Rows of `features` for every track of each decoded object."""
    good = extracted.where(F.col("reason").isNull()).withColumnRenamed("audio_uri", "source")
    targets = lack.select("track_id", "audio_uri", "source")
    return good.join(targets, "source", "inner").select(*FEATURES.columns())


def rejects_of(faulty: DataFrame, tracks: DataFrame, fingerprint: str, run_id: str) -> DataFrame:
    """Rows of `rejects` for every track of each object with a reason; `tracks` has (track_id, audio_uri)."""
    bad = faulty.where(F.col("reason").isNotNull()).select("audio_uri", "etag", "reason", "detail")
    return (
        bad.join(tracks.select("track_id", "audio_uri"), "audio_uri", "inner")
        .select(
            F.lit(STAGE).alias("stage"),
            F.col("track_id").alias("key"),
            "reason",
            F.concat_ws(": ", "audio_uri", "detail").alias("detail"),
            "etag",
            F.lit(fingerprint).alias("fingerprint"),
            F.lit(run_id).alias("run_id"),
        )
        .select(*REJECTS.columns())
    )


def unknown(rejects: DataFrame, before: DataFrame) -> DataFrame:
    """Rejects that no earlier run has told: of another object, or for another reason."""
    told = before.select("key", "reason", F.col("etag").alias("told_etag"))
    same = (
        (rejects["key"] == told["key"])
        & (rejects["reason"] == told["reason"])
        & rejects["etag"].eqNullSafe(told["told_etag"])
    )
    return rejects.join(told, same, "left_anti")


def unreadable(objects: DataFrame) -> DataFrame:
    """Objects that could not even be looked at."""
    return objects.where(F.col("reason").isin([AudioReason.MISSING, AudioReason.PATH_REFUSED]))
