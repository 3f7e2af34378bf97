"""The metadata of audio files in Spark tasks."""

import os
from collections import Counter
from collections.abc import Callable, Iterator

import pyarrow as pa

from genremill.infra.audio.faults import OF_THE_STORAGE, AudioReason, AudioRejected
from genremill.infra.audio.store import AudioObject, AudioStore
from genremill.infra.progress import RejectCounts
from genremill.infra.progress_lines import DONE
from genremill.udfs.decoding import metadata, sandbox
from genremill.udfs.decoding.metadata import Metadata
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Barrier

NO_TRACK = (*sorted(OF_THE_STORAGE), AudioReason.EMPTY, AudioReason.NOT_AUDIO)
"""Reasons why a file is no track. Another file with unreadable metadata is a track without names."""
BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
Row = dict[str, object]


def make_read(store: AudioStore, barrier: Barrier, schema: pa.Schema, counted: RejectCounts) -> BatchFunction:
    """A `mapInArrow` function from (audio_uri, etag, size) to rows of `file_metadata`, of this schema.

    It counts files by reason. Raises `UsageError` if mutagen is not installed on this machine, or if the
    kernel lacks a part of a sandbox that is required.
    """

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        metadata.require("--tracks-from-audio")
        box = sandbox.of_this_process(barrier)
        for batch in batches:
            columns = (batch.column(name).to_pylist() for name in ("audio_uri", "etag", "size"))
            rows = [_row(store, box, AudioObject(*found)) for found in zip(*columns, strict=True)]
            counted.add(Counter(str(row.get("reason") or DONE) for row in rows))
            yield pa.RecordBatch.from_pylist(rows, schema)

    return read


def _row(store: AudioStore, box: Sandbox, audio: AudioObject) -> Row:
    row: Row = {"audio_uri": audio.uri, "etag": audio.etag, "revision": metadata.REVISION}
    try:
        found = metadata_of(store, box, audio)
    except AudioRejected as err:
        reason = {"reason": err.reason.value, "detail": err.detail}
        return row | reason | ({} if err.reason in NO_TRACK else {"fault": str(err)})
    return row | vars(found)


def metadata_of(store: AudioStore, box: Sandbox, audio: AudioObject) -> Metadata:
    """The metadata of an object; of a large one on S3, only both ends are fetched if they are enough."""
    suffix = os.path.splitext(audio.uri)[1]
    with store.ends(audio) as (fd, hole):
        found = box.read_metadata(fd, suffix, hole)
    if found is not None:
        return found
    with store.open(audio) as opened:
        whole = box.read_metadata(opened.fd, suffix)
    if whole is None:
        raise AudioRejected(AudioReason.DECODE_CRASHED, "invalid answer: bytes of a whole file are missing")
    return whole
