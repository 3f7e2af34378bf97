"""What `extract` has to do: which tracks lack features of their present audio, and where these come from.

Audio is unchanged when its (audio_uri, etag) is; on S3 an equal (etag, size) under another key is the same
audio too. Nothing is decoded twice for that.
"""

from pyspark.sql import Column, DataFrame, Window, functions as F

from genremill.infra.audio.faults import AudioReason
from genremill.jobs.contracts import FEATURES, REJECTS

STAGE = "extract"
"""How rejects of audio name their job."""
OF_THE_PATH = (AudioReason.MISSING, AudioReason.CHANGED, AudioReason.PATH_REFUSED)
"""Reasons that tell nothing of the bytes; their detail quotes the URI without the secrets it may hold."""
PASSING = (*OF_THE_PATH, AudioReason.DECODE_TIMEOUT)
"""Reasons that may be gone the next night though the etag is the same."""
_OF_THE_AUDIO = [name for name in FEATURES.columns() if name not in ("track_id", "audio_uri")]


def content() -> Column:
    """What tells one audio from another: equal for equal audio."""
    on_s3 = F.col("audio_uri").rlike("(?i)^s3a?://")
    place = F.when(on_s3, F.col("size").cast("string")).otherwise(F.col("audio_uri"))
    return F.concat_ws("\n", "etag", place)


def lacking(tracks: DataFrame, objects: DataFrame, rows: DataFrame, rejects: DataFrame) -> DataFrame:
    """Tracks whose readable audio has neither features nor a reject yet, with the audio's `content`.

    `rows` are those of the cache, `rejects` those of this fingerprint; of equal audio, all tracks name the
    same `source`, the one object to decode.
    """
    readable = objects.where(F.col("reason").isNull()).select("audio_uri", "etag", "size")
    wanted = tracks.join(readable, "audio_uri", "inner")
    new = wanted.join(held(rows), ["track_id", "audio_uri", "etag"], "left_anti")
    told = rejects.where(~F.col("reason").isin(*PASSING))
    told = told.select(F.col("key").alias("track_id"), F.col("etag").alias("told"), "detail")
    bad = (
        (new["track_id"] == told["track_id"])
        & (new["etag"] == told["told"])
        & _tells_of(told["detail"], new["audio_uri"])
    )
    new = new.join(told, bad, "left_anti").withColumn("content", content())
    return new.withColumn("source", F.min("audio_uri").over(Window.partitionBy("content")))


def _tells_of(detail: Column, uri: Column) -> Column:
    """Whether a reject's detail begins with the URI of what was read."""
    return detail.startswith(F.concat(uri, F.lit(": ")))


def held(rows: DataFrame) -> DataFrame:
    """(track_id, audio_uri, etag) of the audio whose features readers get: those of the newest run."""
    return rows.groupBy("track_id", "audio_uri").agg(F.max_by("etag", "run").alias("etag"))


def copies(lack: DataFrame, rows: DataFrame) -> DataFrame:
    """Rows of `features` for tracks whose audio the cache knows under another track or key."""
    known = rows.withColumn("content", content())
    donors = known.groupBy("content").agg(F.max(F.struct("run", "track_id")).alias("donor"))
    donated = known.join(donors, "content", "inner").where(F.struct("run", "track_id") == F.col("donor"))
    donated = donated.groupBy("content", "window").agg(F.first(F.struct(*_OF_THE_AUDIO)).alias("row"))
    found = lack.select("track_id", "audio_uri", "content").join(donated, "content", "inner")
    return found.select("track_id", "audio_uri", "row.*").select(*FEATURES.columns())


def of_tracks(extracted: DataFrame, lack: DataFrame) -> DataFrame:
    """What was extracted or refused, for each track that has this audio."""
    tracks = lack.select("track_id", "audio_uri", "content")
    return extracted.withColumn("content", content()).drop("audio_uri").join(tracks, "content", "inner")


def features_of(found: DataFrame) -> DataFrame:
    """Rows of `features`: those without a reason."""
    return found.where(F.col("reason").isNull()).select(*FEATURES.columns())


def rejects_of(refused: DataFrame, fingerprint: str, run_id: str) -> DataFrame:
    """Rows of `rejects` for what was refused."""
    is_whole = F.col("reason").isin(*OF_THE_PATH) | _tells_of(F.col("detail"), F.col("audio_uri"))
    columns = {
        "stage": F.lit(STAGE),
        "key": F.col("track_id"),
        "reason": F.col("reason"),
        "detail": F.when(is_whole, F.col("detail")).otherwise(F.concat_ws(": ", "audio_uri", "detail")),
        "etag": F.col("etag"),
        "fingerprint": F.lit(fingerprint),
        "run_id": F.lit(run_id),
    }
    return refused.select(*(columns[name].alias(name) for name in REJECTS.columns()))


def untold(found: DataFrame, before: DataFrame) -> DataFrame:
    """What was refused and no earlier run has told: of another object or URI, or for another reason."""
    told = before.select(
        "key", F.col("reason").alias("why"), F.col("etag").alias("of"), F.col("detail").alias("said")
    )
    refused = found.where(F.col("reason").isNotNull())
    same = (
        (F.col("track_id") == F.col("key"))
        & (F.col("reason") == F.col("why"))
        & F.col("etag").eqNullSafe(F.col("of"))
        & (F.col("reason").isin(*OF_THE_PATH) | _tells_of(F.col("said"), F.col("audio_uri")))
    )
    return refused.join(told, same, "left_anti")
