"""A track's audio as one picture: waveform, mel spectrogram, chromagram, tempogram, on one axis of time.

Shape suffixes: F bins of frequency, T frames, M mel bands, C pitch classes, L lags of the tempogram, P tempi.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import librosa
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from genremill.infra.terminal import plain

Floats = npt.NDArray[np.floating]
Signal = npt.NDArray[np.float32]

INK, MUTED, ACCENT = "#1b1f24", "#5f6670", "#20588a"
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans")
"""The first comes with matplotlib; the others lend letters that it lacks, where they are installed."""
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}
SIZE_INCHES, DPI = (12.0, 11.0), 110
LEFT, RIGHT, TOP = 0.075, 0.93, 0.975
TITLE_HEIGHT, LINE_HEIGHT = 0.032, 0.022
"""Of the picture's height, as the edges are."""
ENVELOPE_POINTS = 2400
FREQUENCY_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
SHORTEST_TEMPOGRAM, LONGEST_TEMPOGRAM = 128, 384
"""Frames that an autocorrelation is taken over: half of the audio's, within these; 384 is librosa's."""
TEMPO_TICKS = (40, 60, 80, 120, 160, 240)
PITCH_CLASSES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


@dataclass(frozen=True)
class PictureSettings:
    """How the audio is analysed."""

    sr: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    top_db: float = 80.0
    """What is so far below the loudest is drawn as silence."""
    tempi: int = 160
    """Rows of the tempogram, equally spaced in log tempo from `TEMPO_TICKS`' first to its last."""


@dataclass(frozen=True)
class Panels:
    """What is drawn of a signal."""

    y: Signal
    mel_MT: Floats
    """Power in dB below the loudest."""
    chroma_CT: Floats
    """Energy of each pitch class, relative to the loudest in its frame."""
    tempogram_PT: Floats
    """Autocorrelation of the onset strength at each tempo, relative to the largest at any lag."""
    tempo: float
    """Beats a minute, librosa's estimate; 0 where there are no onsets."""


@dataclass(frozen=True)
class Caption:
    """What is written over a picture; it may be any text, and is drawn as it is."""

    title: str
    lines: Sequence[str] = ()
    time_label: str = "time (s)"


def analyse(y: Signal, settings: PictureSettings) -> Panels:
    """The panels of a mono signal at `settings.sr`, from one STFT."""
    sr, n_fft, hop_length = settings.sr, settings.n_fft, settings.hop_length
    power_FT = np.abs(librosa.stft(y, n_fft=n_fft, hop_length=hop_length)) ** 2
    mel_power_MT = librosa.feature.melspectrogram(
        S=power_FT, sr=sr, n_fft=n_fft, hop_length=hop_length, n_mels=settings.n_mels
    )
    mel_MT = librosa.power_to_db(mel_power_MT, ref=np.max, top_db=settings.top_db)
    chroma_CT = librosa.feature.chroma_stft(S=power_FT, sr=sr, n_fft=n_fft, hop_length=hop_length)
    # As librosa's beat tracker has it, so that the tempo is the one that stands among the features.
    onsets_T = librosa.onset.onset_strength(
        S=mel_MT, sr=sr, n_fft=n_fft, hop_length=hop_length, aggregate=np.median
    )
    tempogram_LT = librosa.feature.tempogram(
        onset_envelope=onsets_T,
        sr=sr,
        hop_length=hop_length,
        win_length=int(np.clip(len(onsets_T) // 2, SHORTEST_TEMPOGRAM, LONGEST_TEMPOGRAM)),
    )
    tempo = 0.0
    if onsets_T.any():
        tempo = float(librosa.feature.tempo(onset_envelope=onsets_T, sr=sr, hop_length=hop_length)[0])
    return Panels(y, mel_MT, chroma_CT, at_tempi(tempogram_LT, tempi(settings), settings), tempo)


def tempi(settings: PictureSettings) -> Floats:
    """The tempi of the tempogram's rows, beats a minute, rising, shape (P,)."""
    return np.geomspace(TEMPO_TICKS[0], TEMPO_TICKS[-1], settings.tempi)


def at_tempi(tempogram_LT: Floats, tempi_P: Floats, settings: PictureSettings) -> Floats:
    """A tempogram by lag in frames as one by tempo, shape (P, T), linear between two lags.

    >>> by_lag = np.arange(100.0)[:, None]
    >>> settings = PictureSettings(sr=1000, hop_length=10)
    >>> at_tempi(by_lag, np.array([60.0, 80.0, 120.0]), settings).ravel().tolist()
    [99.0, 75.0, 50.0]
    """
    lags_P = np.minimum(60 * settings.sr / (settings.hop_length * tempi_P), len(tempogram_LT) - 1)
    below_P = np.minimum(lags_P.astype(int), len(tempogram_LT) - 2)
    share_P1 = (lags_P - below_P)[:, None]
    mixed: Floats = (1 - share_P1) * tempogram_LT[below_P] + share_P1 * tempogram_LT[below_P + 1]
    return mixed


def png(panels: Panels, settings: PictureSettings, caption: Caption) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    with _style():
        _figure(panels, settings, caption).savefig(out, format="png")
    return out.getvalue()


def draw(panels: Panels, settings: PictureSettings, caption: Caption) -> Figure:
    """The picture: four panels one under the other, and a colour bar beside each but the first."""
    with _style():
        return _figure(panels, settings, caption)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    installed = set(font_manager.get_font_names())
    fonts = [name for name in FONTS if name in installed]
    with mpl.rc_context(STYLE | {"font.family": fonts}), warnings.catch_warnings():
        # A letter that no font has is drawn as a box; there is nothing to do about it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _figure(panels: Panels, settings: PictureSettings, caption: Caption) -> Figure:
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    header = TOP - TITLE_HEIGHT - LINE_HEIGHT * len(caption.lines)
    grid = figure.add_gridspec(
        4,
        2,
        width_ratios=(1, 0.014),
        height_ratios=(0.75, 1.5, 1.1, 1.1),
        left=LEFT,
        right=RIGHT,
        top=header - 0.04,
        bottom=0.055,
        wspace=0.03,
        hspace=0.24,
    )
    first = figure.add_subplot(grid[0, 0])
    axes = [first, *(figure.add_subplot(grid[row, 0], sharex=first) for row in (1, 2, 3))]
    bars = [figure.add_subplot(grid[row, 1]) for row in (1, 2, 3)]
    _waveform(axes[0], panels.y, settings.sr)
    images = [
        _mel(axes[1], panels.mel_MT, settings),
        _chroma(axes[2], panels.chroma_CT, settings),
        _tempogram(axes[3], panels, settings),
    ]
    labels = ("dB re loudest", "relative to the loudest", "autocorrelation")
    for image, bar, label in zip(images, bars, labels, strict=True):
        figure.colorbar(image, cax=bar, label=label).outline.set_visible(False)
    for one in axes[:-1]:
        one.tick_params(labelbottom=False)
    # The last frame may end half a hop before the signal does.
    frames_end = (panels.mel_MT.shape[1] - 0.5) * settings.hop_length
    first.set_xlim(0, min(len(panels.y), frames_end) / settings.sr)
    axes[-1].set_xlabel(caption.time_label)
    figure.align_ylabels(axes)
    _write(figure, caption)
    return figure


def _write(figure: Figure, caption: Caption) -> None:
    top = TOP
    for at, line in enumerate((caption.title, *caption.lines)):
        size, colour = (17, INK) if at == 0 else (11, MUTED)
        # parse_math off: "$" is a letter of titles, and half a formula would be an error.
        text = figure.text(
            LEFT,
            top,
            plain(line),
            fontsize=size,
            color=colour,
            va="top",
            weight="bold" if at == 0 else "normal",
            parse_math=False,
        )
        _fit(text, figure)
        top -= TITLE_HEIGHT if at == 0 else LINE_HEIGHT


def _fit(text: Text, figure: Figure) -> None:
    """Cuts a text where it would leave the picture."""
    room = (RIGHT - LEFT) * figure.bbox.width
    whole = text.get_text()[:300]
    text.set_text(whole)
    while whole and text.get_window_extent().width > room:
        whole = whole[: int(len(whole) * min(0.98, room / text.get_window_extent().width))]
        text.set_text(whole.rstrip() + "…")


def _waveform(axes: Axes, y: Signal, sr: int) -> None:
    block = max(1, len(y) // ENVELOPE_POINTS)
    whole = y[: len(y) // block * block].reshape(-1, block)
    at = (np.arange(len(whole)) + 0.5) * block / sr
    axes.fill_between(at, whole.min(axis=1), whole.max(axis=1), color=ACCENT, linewidth=0.6)
    peak = float(np.abs(y).max())
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
    axes.set_title("Waveform")
    axes.set_ylabel("amplitude")
    axes.spines[["top", "right"]].set_visible(False)


def _mel(axes: Axes, mel_MT: Floats, settings: PictureSettings) -> AxesImage:
    image = _image(axes, mel_MT, settings, "magma", (-settings.top_db, 0.0))
    bands = librosa.mel_frequencies(n_mels=settings.n_mels + 2, fmax=settings.sr / 2)
    ticks = [hz for hz in FREQUENCY_TICKS_HZ if hz <= settings.sr / 2]
    labels = [f"{hz / 1000:g}k" if hz >= 1000 else str(hz) for hz in ticks]
    axes.set_yticks(np.interp(ticks, bands[1:-1], np.arange(settings.n_mels)), labels)
    axes.set_title("Mel spectrogram")
    axes.set_ylabel("frequency (Hz)")
    return image


def _chroma(axes: Axes, chroma_CT: Floats, settings: PictureSettings) -> AxesImage:
    image = _image(axes, chroma_CT, settings, "viridis", (0.0, 1.0))
    axes.set_yticks(range(len(PITCH_CLASSES)), PITCH_CLASSES)
    axes.set_title("Chromagram")
    axes.set_ylabel("pitch class")
    return image


def _tempogram(axes: Axes, panels: Panels, settings: PictureSettings) -> AxesImage:
    lowest, highest = float(panels.tempogram_PT.min()), float(panels.tempogram_PT.max())
    image = _image(axes, panels.tempogram_PT, settings, "viridis", (lowest, highest))
    rows = np.log(tempi(settings))

    def row_of(tempo: float) -> float:
        return float(np.interp(np.log(tempo), rows, np.arange(settings.tempi)))

    axes.set_yticks([row_of(tempo) for tempo in TEMPO_TICKS], [str(tempo) for tempo in TEMPO_TICKS])
    axes.set_title("Tempogram")
    axes.set_ylabel("tempo (beats/min)")
    if panels.tempo:
        axes.set_title(f"tempo {panels.tempo:.1f} beats/min", loc="right", color=MUTED, fontsize=10)
    if TEMPO_TICKS[0] <= panels.tempo <= TEMPO_TICKS[-1]:
        axes.axhline(row_of(panels.tempo), color="white", linewidth=1, linestyle=(0, (6, 4)))
    return image


def _image(
    axes: Axes, values: Floats, settings: PictureSettings, colours: str, limits: tuple[float, float]
) -> AxesImage:
    """Rows of values over time, the first at the bottom; a frame is as wide as its hop, around its centre."""
    hop_s = settings.hop_length / settings.sr
    rows, frames = values.shape
    return axes.imshow(
        values,
        aspect="auto",
        origin="lower",
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        extent=(-hop_s / 2, (frames - 0.5) * hop_s, -0.5, rows - 0.5),
    )
