"""The picture of a track: waveform, mel spectrogram, chromagram and tempogram, with a common time axis.

Shape suffixes: F frequency bins, T frames, M mel bands, C pitch classes, L lags of the tempogram, P tempi.
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

from genremill.infra.terminal import plain

Floats = npt.NDArray[np.floating]
Signal = npt.NDArray[np.float32]

SHORTEST_TEMPOGRAM, LONGEST_TEMPOGRAM = 128, 384
"""The autocorrelation window is half of the audio, but within these numbers of frames; 384 is librosa's
default."""
LOWEST_TEMPO, HIGHEST_TEMPO = 40, 240
"""Beats per minute."""

INK, MUTED, ACCENT = "#1b1f24", "#5f6670", "#20588a"
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans")
"""The first comes with matplotlib; the others have more letters and are used where they are installed."""
STYLE: dict[Any, Any] = {
    **{"font.size": 10, "axes.titlesize": 11, "xtick.labelsize": 9, "ytick.labelsize": 9},
    **{"axes.linewidth": 0.8, "axes.titlelocation": "left", "text.color": INK},
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), MUTED),
}
SIZE_INCHES, DPI = (12.0, 11.0), 110
LEFT, RIGHT, TOP = 0.075, 0.93, 0.975
TITLE_HEIGHT, LINE_HEIGHT = 0.032, 0.022
"""As a share of the height of the picture, like the margins."""
ENVELOPE_POINTS = 2400
FREQUENCY_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
TEMPO_TICKS = (40, 60, 80, 120, 160, 240)
PITCH_CLASSES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


@dataclass(frozen=True)
class PanelSettings:
    """How the audio is analyzed."""

    sr: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    top_db: float = 80.0
    """Whatever is this many dB below the maximum is drawn as silence."""
    tempi: int = 160
    """Rows of the tempogram, equally spaced in log tempo from `LOWEST_TEMPO` to `HIGHEST_TEMPO`."""


@dataclass(frozen=True)
class Panels:
    """The data that is drawn for a signal."""

    y: Signal
    mel_MT: Floats
    """Power in dB relative to the maximum."""
    chroma_CT: Floats
    """Energy of each pitch class, relative to the maximum of its frame."""
    tempogram_PT: Floats
    """Autocorrelation of the onset strength at each tempo, relative to the maximum over all lags."""
    tempo: float
    """Beats per minute, as librosa estimates it; 0 without onsets."""


def analyze(y: Signal, settings: PanelSettings) -> Panels:
    """The panels of a mono signal at `settings.sr`, from one STFT."""
    sr, n_fft, hop_length = settings.sr, settings.n_fft, settings.hop_length
    power_FT = np.abs(librosa.stft(y, n_fft=n_fft, hop_length=hop_length)) ** 2
    mel_power_MT = librosa.feature.melspectrogram(
        S=power_FT, sr=sr, n_fft=n_fft, hop_length=hop_length, n_mels=settings.n_mels
    )
    mel_MT = librosa.power_to_db(mel_power_MT, ref=np.max, top_db=settings.top_db)
    chroma_CT = librosa.feature.chroma_stft(S=power_FT, sr=sr, n_fft=n_fft, hop_length=hop_length)
    # The same onsets as in librosa's beat tracker, so that the tempo equals the tempo feature.
    onsets_T = librosa.onset.onset_strength(
        S=mel_MT, sr=sr, n_fft=n_fft, hop_length=hop_length, aggregate=np.median
    )
    tempogram_LT = librosa.feature.tempogram(
        onset_envelope=onsets_T,
        sr=sr,
        hop_length=hop_length,
        win_length=int(np.clip(len(onsets_T) // 2, SHORTEST_TEMPOGRAM, LONGEST_TEMPOGRAM)),
    )
    tempo = librosa.feature.tempo(onset_envelope=onsets_T, sr=sr, hop_length=hop_length)[0]
    tempogram_PT = by_tempo(tempogram_LT, tempi(settings), settings)
    return Panels(y, mel_MT, chroma_CT, tempogram_PT, float(tempo) if onsets_T.any() else 0.0)


def tempi(settings: PanelSettings) -> Floats:
    """The tempo of each row of the tempogram in beats per minute, increasing, shape (P,)."""
    return np.geomspace(LOWEST_TEMPO, HIGHEST_TEMPO, settings.tempi)


def by_tempo(tempogram_LT: Floats, tempi_P: Floats, settings: PanelSettings) -> Floats:
    """Converts a tempogram by lag in frames to one by tempo, shape (P, T), by linear interpolation.

    >>> by_lag = np.arange(100.0)[:, None]
    >>> settings = PanelSettings(sr=1000, hop_length=10)
    >>> by_tempo(by_lag, np.array([60.0, 80.0, 120.0]), settings).ravel().tolist()
    [99.0, 75.0, 50.0]
    """
    lags_P = np.minimum(60 * settings.sr / (settings.hop_length * tempi_P), len(tempogram_LT) - 1)
    below_P = np.minimum(lags_P.astype(int), len(tempogram_LT) - 2)
    share_P1 = (lags_P - below_P)[:, None]
    mixed_PT: Floats = (1 - share_P1) * tempogram_LT[below_P] + share_P1 * tempogram_LT[below_P + 1]
    return mixed_PT


@dataclass(frozen=True)
class Caption:
    """The text above a picture. It is drawn as plain text, whatever it contains."""

    title: str
    lines: Sequence[str] = ()
    time_label: str = "time (s)"


@contextlib.contextmanager
def _style() -> Iterator[None]:
    fonts = [name for name in FONTS if name in set(font_manager.get_font_names())]
    with mpl.rc_context(STYLE | {"font.family": fonts}), warnings.catch_warnings():
        # Letters that no installed font has are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@_style()
def png(panels: Panels, settings: PanelSettings, caption: Caption) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    draw(panels, settings, caption).savefig(out, format="png")
    return out.getvalue()


@_style()
def draw(panels: Panels, settings: PanelSettings, caption: Caption) -> Figure:
    """The picture: four panels, and a color bar for each panel except the waveform."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        4,
        2,
        width_ratios=(1, 0.014),
        height_ratios=(0.75, 1.5, 1.1, 1.1),
        left=LEFT,
        right=RIGHT,
        top=TOP - TITLE_HEIGHT - LINE_HEIGHT * len(caption.lines) - 0.04,
        bottom=0.055,
        wspace=0.03,
        hspace=0.24,
    )
    waveform = figure.add_subplot(grid[0, 0])
    mel, chroma, tempogram = (figure.add_subplot(grid[row, 0], sharex=waveform) for row in (1, 2, 3))
    _waveform(waveform, panels.y, settings.sr)
    images = {
        "dB relative to maximum": _mel(mel, panels.mel_MT, settings),
        "relative to maximum": _chroma(chroma, panels.chroma_CT, settings),
        "autocorrelation": _tempogram(tempogram, panels, settings),
    }
    for row, (label, image) in enumerate(images.items(), start=1):
        bar = figure.add_subplot(grid[row, 1])
        figure.colorbar(image, cax=bar, label=label).outline.set_visible(False)
    for axes in (waveform, mel, chroma):
        axes.tick_params(labelbottom=False)
    # The last frame may end half a hop before the signal does.
    frames_end = (panels.mel_MT.shape[1] - 0.5) * settings.hop_length
    waveform.set_xlim(0, min(len(panels.y), frames_end) / settings.sr)
    tempogram.set_xlabel(caption.time_label)
    figure.align_ylabels([waveform, mel, chroma, tempogram])
    _write(figure, caption.title, TOP, 17, INK, "bold")
    for row, line in enumerate(caption.lines):
        _write(figure, line, TOP - TITLE_HEIGHT - row * LINE_HEIGHT, 11, MUTED, "normal")
    return figure


def _write(figure: Figure, line: str, top: float, size: int, color: str, weight: str) -> None:
    """Writes a line above the panels, and shortens it if it is wider than they are."""
    shown, width = plain(line)[:300], (RIGHT - LEFT) * figure.bbox.width
    # parse_math is off because "$" occurs in titles, and half a formula would raise an error.
    text = figure.text(LEFT, top, shown, va="top", size=size, color=color, weight=weight, parse_math=False)
    while shown and text.get_window_extent().width > width:
        shown = shown[: int(len(shown) * min(0.98, width / text.get_window_extent().width))]
        text.set_text(shown.rstrip() + "…")


def _waveform(axes: Axes, y: Signal, sr: int) -> None:
    block = max(1, len(y) // ENVELOPE_POINTS)
    blocks = y[: len(y) // block * block].reshape(-1, block)
    seconds = (np.arange(len(blocks)) + 0.5) * block / sr
    axes.fill_between(seconds, blocks.min(axis=1), blocks.max(axis=1), color=ACCENT, linewidth=0.6)
    peak = float(np.abs(y).max())
    axes.set(title="Waveform", ylabel="amplitude", ylim=(-1.05 * peak, 1.05 * peak))
    axes.spines[["top", "right"]].set_visible(False)


def _mel(axes: Axes, mel_MT: Floats, settings: PanelSettings) -> AxesImage:
    bands = librosa.mel_frequencies(n_mels=settings.n_mels + 2, fmax=settings.sr / 2)
    ticks = [hz for hz in FREQUENCY_TICKS_HZ if hz <= settings.sr / 2]
    labels = [f"{hz / 1000:g}k" if hz >= 1000 else str(hz) for hz in ticks]
    axes.set_yticks(np.interp(ticks, bands[1:-1], np.arange(settings.n_mels)), labels)
    axes.set(title="Mel spectrogram", ylabel="frequency (Hz)")
    return _image(axes, mel_MT, settings, "magma", (-settings.top_db, 0.0))


def _chroma(axes: Axes, chroma_CT: Floats, settings: PanelSettings) -> AxesImage:
    axes.set_yticks(range(len(PITCH_CLASSES)), PITCH_CLASSES)
    axes.set(title="Chromagram", ylabel="pitch class")
    return _image(axes, chroma_CT, settings, "viridis", (0.0, 1.0))


def _tempogram(axes: Axes, panels: Panels, settings: PanelSettings) -> AxesImage:
    log_tempi = np.log(tempi(settings))

    def row_of(tempo: float) -> float:
        return float(np.interp(np.log(tempo), log_tempi, np.arange(settings.tempi)))

    axes.set_yticks([row_of(tempo) for tempo in TEMPO_TICKS], [str(tempo) for tempo in TEMPO_TICKS])
    axes.set(title="Tempogram", ylabel="tempo (BPM)")
    if panels.tempo:
        axes.set_title(f"tempo {panels.tempo:.1f} BPM", loc="right", color=MUTED, fontsize=10)
    if TEMPO_TICKS[0] <= panels.tempo <= TEMPO_TICKS[-1]:
        axes.axhline(row_of(panels.tempo), color="white", linewidth=1, linestyle=(0, (6, 4)))
    return _image(axes, panels.tempogram_PT, settings, "viridis")


def _image(
    axes: Axes,
    values: Floats,
    settings: PanelSettings,
    colors: str,
    limits: tuple[float, float] | None = None,
) -> AxesImage:
    """Rows of values over time, the first at the bottom; a frame is one hop wide, around its center."""
    hop_s = settings.hop_length / settings.sr
    rows, frames = values.shape
    extent = (-hop_s / 2, (frames - 0.5) * hop_s, -0.5, rows - 0.5)
    image = axes.imshow(values, colors, aspect="auto", origin="lower", extent=extent)
    image.set_clim(limits)
    return image
