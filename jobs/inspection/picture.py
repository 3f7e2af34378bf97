"""Draws the panels of a track below each other, with a common time axis.

Shape suffixes as in `panels`.
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
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from genremill.infra.terminal import plain
from genremill.jobs.inspection.panels import Floats, Panels, PanelSettings, Signal, tempi

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
