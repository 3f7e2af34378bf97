"""A network as a feature set: an ONNX file, and a YAML file beside it that describes its input.

Shape suffixes: B windows, T frames, M mel bands, F bins of the spectrum.
"""

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from genremill.infra import storage
from genremill.infra.errors import UsageError, shortened
from genremill.udfs.dsp.spectra import Real, librosa_filters, magnitudes
from genremill.udfs.feature_sets.base import LIBRARIES, FeatureSet, Signal, Window
from genremill.udfs.feature_sets.onnx_description import (
    ONNX,
    Axes,
    Description,
    Log,
    Mel,
    Normalization,
    WindowPooling,
    read_description,
)

AT_ONCE = 8
"""Windows that the network gets in one call."""
MOST_VALUES = 4_096
"""Largest number of values of a window: the model of outliers keeps a number for each two of them."""
LEAST = 1e-10
"""Smaller values count as this in a logarithm."""


@dataclass(frozen=True, kw_only=True)
class OnnxNetwork(FeatureSet):
    """The output of a network for each window of a signal, or its mean or maximum over the windows.

    An incomplete last window is dropped; a signal shorter than a window is padded with silence.
    """

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = (*LIBRARIES, "onnxruntime")
    uses_kernels: ClassVar[bool] = False
    uri: str
    """URI of the file; all executors must be able to read it."""
    sha256: str
    """Digest of the file."""
    description: Description
    width: int
    """Number of values of a window."""

    @classmethod
    def of(cls, location: str) -> Self:
        """The set of a file, whose network this runs once; raises `UsageError` if it does not fit."""
        uri = storage.absolute_uri(storage.required_file("--features", location, "an ONNX network"))
        description = read_description(re.sub(r"\.onnx$", "", location) + ".yaml")
        read_network.cache_clear()  # the file may be a new one
        network = read_network(uri)
        two_windows = description.window + (description.hop or description.window)
        inputs = _inputs(np.zeros(round(two_windows * description.sample_rate), np.float32), description)
        output = network.run(inputs, description)
        if output.ndim < 2 or len(output) != len(inputs):
            raise UsageError(
                f"{uri}: the output has shape {output.shape} for {len(inputs)} window(s); expected the "
                "windows as its first axis, and their values after it"
            )
        if not 1 <= output[0].size <= MOST_VALUES:
            raise UsageError(
                f"{uri}: {output[0].size:,} values for a window; expected 1 to {MOST_VALUES:,}. Choose "
                "another `output`"
            )
        return cls(
            sr=description.sample_rate,
            uri=uri,
            sha256=network.sha256,
            description=description,
            width=output[0].size,
        )

    @property
    def name(self) -> str:
        """`onnx:` and the name of the file, without its ending.

        >>> _name_of("s3://models/clap-v1.2.onnx")
        'onnx:clap-v1_2'
        """
        return _name_of(self.uri)

    @property
    def location(self) -> str:
        """URI of the file for this process."""
        return self.uri

    @property
    def value_names(self) -> tuple[str, ...]:
        """The values by number."""
        return tuple(f"value_{number:03d}" for number in range(1, self.width + 1))

    def settings(self) -> dict[str, Any]:
        """The settings that the values depend on: the digest of the file, but not its URI."""
        return {"sha256": self.sha256} | dataclasses.asdict(self.description)

    def values(self, y: Signal) -> Real:
        """The outputs for the windows of one signal, combined."""
        values = np.stack([window.values for window in self._window_rows(y)])
        is_max = self.description.pooling is WindowPooling.MAX
        return np.asarray(values.max(axis=0) if is_max else values.mean(axis=0), np.float32)

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The output for each window of the network, or combined over longer windows."""
        return self._window_rows(y) if window_s == self.description.window else super().rows(y, window_s)

    def _window_rows(self, y: Signal) -> list[Window]:
        network = read_network(self.location)
        inputs = _inputs(y, self.description)
        values = network.run(inputs, self.description).reshape(len(inputs), self.width)
        hop = self.description.hop or self.description.window
        return [Window(number * hop, row) for number, row in enumerate(values)]

    def warm(self) -> None:
        """Creates the session, and checks that the file is the one whose digest is in the settings."""
        if read_network(self.location).sha256 != self.sha256:
            read_network.cache_clear()  # an earlier job of this process may have read another file
        if (found := read_network(self.location).sha256) != self.sha256:
            raise UsageError(f"{self.location}: expected sha256 {self.sha256[:12]}…, found {found[:12]}…")
        super().warm()


def _name_of(uri: str) -> str:
    stem = uri.rpartition("/")[2].removesuffix(".onnx")
    return ONNX + re.sub(r"[^\w-]", "_", stem)


@dataclass(frozen=True, eq=False)
class Network:
    """A session of ONNX Runtime, and the digest of its file."""

    uri: str
    session: onnxruntime.InferenceSession
    sha256: str

    def run(self, inputs: Real, description: Description) -> Real:
        """The output for windows, with the windows as its first axis; raises `UsageError` if it fails."""
        name = self._chosen("input_name", description.input_name, self.session.get_inputs())
        output = self._chosen("output", description.output, self.session.get_outputs())
        declared = next(each.shape for each in self.session.get_inputs() if each.name == name)
        x = self._shaped(inputs, declared)
        try:
            if len(declared) < inputs.ndim:  # no axis for windows
                outputs = [self.session.run([output], {name: window})[0][None] for window in x]
            else:
                at_once = 1 if declared[0] == 1 else AT_ONCE
                parts = (x[start : start + at_once] for start in range(0, len(x), at_once))
                outputs = [self.session.run([output], {name: part})[0] for part in parts]
            return np.concatenate([np.asarray(each, np.float32) for each in outputs])
        except _faults() as err:
            raise UsageError(f"{self.uri}: the network cannot be run: {shortened(str(err), 300)}") from err

    def _chosen(self, key: str, asked: str | None, known: list[Any]) -> str:
        """The name of an input or an output."""
        names = [each.name for each in known]
        if asked is not None and asked in names:
            return asked
        if asked is None and len(names) == 1:
            return str(names[0])
        found = f"found {asked!r}" if asked else "it is needed"
        raise UsageError(f"{self.uri}: `{key}`: {found}; the network has: {', '.join(names)}")

    def _shaped(self, x: Real, declared: list[Any]) -> Real:
        """The windows with an axis for channels if the network has one; raises if the shape does not fit."""
        if len(declared) == x.ndim + 1:
            x = x[:, None]
        has_windows = len(declared) == x.ndim
        expected = declared[1:] if has_windows else declared
        fits = len(expected) == x.ndim - 1 and all(
            size == found or not isinstance(size, int)
            for size, found in zip(expected, x.shape[1:], strict=True)
        )
        if not fits or (has_windows and isinstance(declared[0], int) and declared[0] != 1):
            raise UsageError(
                f"{self.uri}: the network expects inputs of shape {declared}; the description gives "
                f"{['windows', *x.shape[1:]]}"
            )
        return x


@cache
def _faults() -> tuple[type[Exception], ...]:
    """The errors of ONNX Runtime, which have no common base class, and of an output without numbers."""
    own = (each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception))
    return (*own, TypeError, ValueError)


@lru_cache(maxsize=4)
def read_network(uri: str) -> Network:
    """Loads a network once per process; it uses one thread, because Spark runs a process for each core."""
    data = storage.read_bytes(uri)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except _faults() as err:
        raise UsageError(
            f"{uri} cannot be read as an ONNX network in one file: {shortened(str(err), 300)}"
        ) from err
    return Network(uri, session, hashlib.sha256(data).hexdigest())


def _inputs(y: Signal, description: Description) -> Real:
    """The windows of a signal as the network reads them, shape (B, samples), (B, T, M) or (B, M, T)."""
    sr, hop_s = description.sample_rate, description.hop or description.window
    samples = round(description.window * sr)
    y = np.pad(y, (0, max(0, samples - len(y))))
    if description.normalize is Normalization.PEAK:
        y = y / max(float(np.abs(y).max()), LEAST)
    if description.mel is None:
        x = _cut(y, samples, round(hop_s * sr))
    else:
        frames = max(round(description.window * sr / description.mel.hop_length), 1)
        x_TM = _mel_spectrogram(y, sr, description.mel)
        x = _cut(x_TM, frames, max(round(hop_s * sr / description.mel.hop_length), 1))
        if description.mel.axes is Axes.BANDS_FRAMES:
            x = x.swapaxes(1, 2)
    x = np.ascontiguousarray(x, np.float32)
    if description.normalize is Normalization.STANDARD:
        axes = tuple(range(1, x.ndim))
        deviation = x.std(axis=axes, keepdims=True)
        x = (x - x.mean(axis=axes, keepdims=True)) / np.maximum(deviation, LEAST)
    return x


def _cut(x: Real, length: int, hop: int) -> Real:
    """Complete windows along the first axis, shape (B, length, …)."""
    starts = range(0, len(x) - length + 1, hop)
    return np.stack([x[start : start + length] for start in starts])


def _mel_spectrogram(y: Signal, sr: int, mel: Mel) -> Real:
    """The mel spectrogram of a signal, shape (T, M); it has a frame for each hop, and one more."""
    S_TF = magnitudes(y, n_fft=mel.n_fft, hop_length=mel.hop_length)
    x_TM = (S_TF if mel.power == 1 else np.square(S_TF)) @ _filters(sr, mel)
    if mel.half_precision:
        x_TM = x_TM.astype(np.float16).astype(np.float32)
    x_TM = np.float32(mel.offset) + np.float32(mel.gain) * x_TM
    if mel.log is Log.NONE:
        return x_TM
    logarithm = np.log(np.maximum(x_TM, LEAST)) if mel.log is Log.LN else np.log10(np.maximum(x_TM, LEAST))
    return np.asarray(10 * logarithm if mel.log is Log.DB else logarithm, np.float32)


@lru_cache
def _filters(sr: int, mel: Mel) -> Real:
    """The filters of the bands, shape (F, M)."""
    filters_MF = librosa_filters().mel(
        sr=sr,
        n_fft=mel.n_fft,
        n_mels=mel.bands,
        fmin=mel.f_min,
        fmax=mel.f_max or sr / 2,
        htk=mel.htk,
        norm="slaney" if mel.equal_area else None,
    )
    return np.ascontiguousarray(filters_MF.T, np.float32)
