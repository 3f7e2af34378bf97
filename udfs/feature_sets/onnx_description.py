"""The YAML file beside an ONNX network: what its input is, and which of its outputs are features."""

import enum
from dataclasses import dataclass, fields
from typing import Annotated

from msgspec import Meta

from genremill.infra import records, yaml_files
from genremill.infra.errors import UsageError

ONNX = "onnx:"
"""Before the name of an ONNX file in --features, and before the name of its feature set."""
EXPECTED = "a YAML file that describes the network; docs/audio.md has examples"
Hertz = Annotated[float, Meta(ge=0, le=1e6)]
Length = Annotated[float, Meta(ge=0.01, le=600)]
"""Seconds."""
Size = Annotated[int, Meta(ge=1, le=1 << 16)]


class InputKind(enum.StrEnum):
    """What a network reads."""

    WAVEFORM = "waveform"
    MEL = "mel"


class Log(enum.StrEnum):
    """What becomes of the values of a mel spectrogram."""

    NONE = "none"
    LN = "ln"
    LOG10 = "log10"
    DB = "db"  # 10 times the logarithm to base 10


class Axes(enum.StrEnum):
    """The order of the last two axes of the input."""

    FRAMES_BANDS = "frames-bands"
    BANDS_FRAMES = "bands-frames"


class Normalization(enum.StrEnum):
    """How each window is changed before the network reads it."""

    NONE = "none"
    PEAK = "peak"  # the largest absolute value of the signal becomes 1
    STANDARD = "standard"  # mean 0 and standard deviation 1 of the input


class WindowPooling(enum.StrEnum):
    """How the outputs for the windows of a track are combined."""

    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True, kw_only=True)
class Mel:
    """A mel spectrogram as librosa computes it, and the logarithm of `offset + gain · value`."""

    n_fft: Annotated[int, Meta(ge=16, le=1 << 16, multiple_of=2)]
    hop_length: Size
    bands: Size
    f_min: Hertz = 0.0
    f_max: Hertz | None = None
    """By default half the sample rate."""
    htk: bool = False
    """Use the formula of HTK, not that of Slaney."""
    equal_area: bool = True
    """Divide each band by its width."""
    power: Annotated[int, Meta(ge=1, le=2)] = 2
    """1 for magnitudes, 2 for powers."""
    log: Log = Log.NONE
    gain: float = 1.0
    offset: float = 0.0
    half_precision: bool = False
    """Round the spectrogram to half precision first."""
    axes: Axes = Axes.FRAMES_BANDS


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of the file; lengths are in seconds."""

    input: InputKind
    sample_rate: Annotated[int, Meta(ge=1000, le=192_000)]
    window: Length
    hop: Length | None = None
    """From the start of a window to the start of the next. By default, windows do not overlap."""
    mel: Mel | None = None
    """Needed if the input is `mel`."""
    normalize: Normalization = Normalization.NONE
    input_name: str | None = None
    """Needed if the network has several inputs."""
    output: str | None = None
    """Name of the output with the features; needed if the network has several."""
    pooling: WindowPooling = WindowPooling.MEAN

    def __post_init__(self) -> None:
        if (self.input is InputKind.MEL) != (self.mel is not None):
            raise ValueError("expected a section `mel` if the input is mel, and none if it is waveform")
        if self.mel is None:
            return
        most = self.sample_rate / 2
        if not self.mel.f_min < (self.mel.f_max or most) <= most:
            raise ValueError("expected f-min below f-max, and f-max of at most half the sample rate")
        if (self.hop or self.window) * self.sample_rate < self.mel.hop_length:
            raise ValueError("expected a window and a hop of at least one frame")


def read_description(location: str) -> Description:
    """The description in a file; raises `UsageError` that names the file and the key."""
    keys = yaml_files.read("--features", location, EXPECTED)
    if not isinstance(keys, dict):
        raise UsageError(f"--features {location}: expected keys such as `input`; found {type(keys).__name__}")
    _refuse_unknown(location, keys, Description)
    if isinstance(keys.get("mel"), dict):
        _refuse_unknown(location, keys["mel"], Mel)
    return records.from_json(records.to_json(_with_underscores(keys)), Description, location, UsageError)


def _refuse_unknown(location: str, keys: dict[object, object], kind: type[Description] | type[Mel]) -> None:
    known = [field.name.replace("_", "-") for field in fields(kind)]
    if unknown := [key for key in keys if key not in known]:
        raise UsageError(f"--features {location}: unknown key {unknown[0]!r}; expected {', '.join(known)}")


def _with_underscores(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {str(key).replace("-", "_"): _with_underscores(each) for key, each in value.items()}
