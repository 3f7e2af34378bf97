"""The reasons why an audio object gives no features, and the exception for them."""

import enum

from genremill.infra.errors import StorageError


class AudioReason(enum.StrEnum):
    """Why an audio object is in `rejects`."""

    PATH_REFUSED = "path_refused"  # outside the roots that `--audio-root` allows
    DENIED = "denied"  # the storage does not allow this user to read the object
    MISSING = "missing"  # the object does not exist
    CHANGED = "changed"  # the object was replaced between listing and reading
    EMPTY = "empty"  # zero bytes
    NOT_AUDIO = "not_audio"  # no known format was found
    CODEC_REFUSED = "codec_refused"  # the container or codec is not supported, or only with FFmpeg
    HEADER_OVER_BUDGET = "header_over_budget"  # rate, channels, frames or bytes are above the limits
    DECODE_FAILED = "decode_failed"  # the decoder reported an error
    DECODE_CRASHED = "decode_crashed"  # the decoder process died or ran out of memory
    DECODE_TIMEOUT = "decode_timeout"  # decoding took too long
    TRUNCATED = "truncated"  # less than 90 % of the audio that should be there could be decoded
    TOO_SHORT = "too_short"  # fewer than 2,048 samples at the rate of the feature set
    SILENT = "silent"  # the peak is below -90 dBFS after removing the mean
    TOO_LOUD = "too_loud"  # the peak is more than 20 dB above full scale
    NON_FINITE = "non_finite"  # a sample or a feature is NaN or infinite


OF_THE_STORAGE = frozenset(
    {AudioReason.PATH_REFUSED, AudioReason.DENIED, AudioReason.MISSING, AudioReason.CHANGED}
)
"""Reasons that do not depend on the content; their detail contains the URI without its secrets."""
OF_THE_PROCESS = frozenset({AudioReason.DECODE_CRASHED, AudioReason.DECODE_TIMEOUT})
"""Reasons that a decoder does not give itself, because it has ended or does not answer."""

PASSING = OF_THE_STORAGE | {AudioReason.DECODE_TIMEOUT}
"""Reasons that may disappear although the etag stays the same."""


class AudioRejected(Exception):
    """One audio object gives no features; the job continues."""

    def __init__(self, reason: AudioReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


_NEEDED = "reading needs s3:GetObject on S3, and the permission to read on a file system"


def check_allowed(denied: int, objects: int, detail: str = _NEEDED) -> None:
    """Raises `StorageError` if most of the objects may not be read: it is not the fault of single objects."""
    if 2 * denied > objects:
        raise StorageError(f"access denied to {denied:,} of {objects:,} audio objects: {detail}")
