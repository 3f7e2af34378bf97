"""Why an audio object gives no features: a closed set of reasons, and the error that carries one."""

import enum


class AudioReason(enum.StrEnum):
    """Why an audio object is in `rejects`."""

    PATH_REFUSED = "path_refused"  # outside the roots that `--audio-root` allows
    MISSING = "missing"  # no such object
    CHANGED = "changed"  # replaced between listing and reading
    EMPTY = "empty"  # zero bytes
    NOT_AUDIO = "not_audio"  # no known container by its first bytes
    CODEC_REFUSED = "codec_refused"  # a container or codec that is not on the list
    HEADER_OVER_BUDGET = "header_over_budget"  # rate, channels, frames or bytes beyond the limits
    DECODE_FAILED = "decode_failed"  # the decoder said so
    DECODE_CRASHED = "decode_crashed"  # the decoder's process died, or ran out of its memory
    DECODE_TIMEOUT = "decode_timeout"
    TRUNCATED = "truncated"  # under 0.9 of what the header declares could be decoded
    TOO_SHORT = "too_short"  # under 2,048 samples at the set's rate
    SILENT = "silent"  # peak under -90 dBFS once the mean is removed
    NON_FINITE = "non_finite"  # NaN or infinity among the samples or the features


class AudioRejected(Exception):
    """One audio object gives no features; the job goes on."""

    def __init__(self, reason: AudioReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
