"""Pictures of signals whose panels are known in advance."""

import numpy as np
import pytest

from genremill.jobs.inspection import picture
from genremill.jobs.inspection.picture import PITCH_CLASSES, Caption, Panels, PanelSettings, Signal

SETTINGS = PanelSettings()


def _tone(hz: float, seconds: float = 3.0) -> Signal:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * SETTINGS.sr)) / SETTINGS.sr)).astype(
        np.float32
    )


def _clicks(beats_per_minute: float, seconds: float = 20.0) -> Signal:
    seconds_since_click = np.arange(int(seconds * SETTINGS.sr)) / SETTINGS.sr % (60 / beats_per_minute)
    noise = np.random.default_rng(0).normal(size=len(seconds_since_click))
    return (0.2 * noise * np.exp(-200 * seconds_since_click)).astype(np.float32)


@pytest.fixture(scope="module")
def panels() -> Panels:
    return picture.analyze(_tone(440) + _clicks(100, 3.0), SETTINGS)


def test_a_tone_has_one_pitch_class_and_one_mel_band() -> None:
    panels = picture.analyze(_tone(880), SETTINGS)
    middle = panels.chroma_CT[:, 10:-10]
    assert set(middle.argmax(axis=0)) == {PITCH_CLASSES.index("A")}
    loudest = panels.mel_MT[:, 10:-10].argmax(axis=0)
    mel = 880 / (200 / 3)  # Slaney's scale is linear under 1 kHz, and then logarithmic
    highest = 15 + 27 * np.log(SETTINGS.sr / 2 / 1000) / np.log(6.4)
    band = mel / highest * (SETTINGS.n_mels + 1) - 1
    assert abs(loudest - band).max() < 1
    assert (panels.mel_MT.max(), panels.mel_MT.min()) == (0, -SETTINGS.top_db)


@pytest.mark.parametrize("beats_per_minute", [75.0, 100.0, 130.0])
def test_clicks_have_the_highest_values_at_their_tempo(beats_per_minute: float) -> None:
    panels = picture.analyze(_clicks(beats_per_minute), SETTINGS)
    assert panels.tempo == pytest.approx(beats_per_minute, rel=0.03)
    rows = picture.tempi(SETTINGS)
    near = abs(rows / beats_per_minute - 1) < 0.03
    between = abs(rows / (beats_per_minute * 1.4) - 1) < 0.03
    mean = panels.tempogram_PT.mean(axis=1)
    assert mean[near].max() > 5 * mean[between].max()


@pytest.mark.parametrize(
    "samples", [2048, 30_000], ids=["one STFT window", "shorter than the tempogram window"]
)
def test_short_signals_are_drawn(samples: int) -> None:
    panels = picture.analyze(_tone(440)[:samples], SETTINGS)
    assert np.isfinite(panels.tempogram_PT).all()
    assert picture.png(panels, SETTINGS, Caption("short"))[:4] == b"\x89PNG"


@pytest.mark.parametrize("title", ["A$x^{$P", "\x1b[31m\u202eltr", "日本語", "W" * 5000])
def test_a_title_with_any_text_fits_into_the_picture(panels: Panels, title: str) -> None:
    figure = picture.draw(panels, SETTINGS, Caption(title, ["genres: $"]))
    for text in figure.texts:
        assert text.get_window_extent().x1 < figure.bbox.x1
        assert not text.get_text() or text.get_text().isprintable()


def test_panels_share_one_time_axis_and_do_not_overlap(panels: Panels) -> None:
    figure = picture.draw(panels, SETTINGS, Caption("title", ["one", "two"]))
    drawn = [axes for axes in figure.axes if axes.get_title(loc="left")]
    names = [axes.get_title(loc="left") for axes in drawn]
    assert names == ["Waveform", "Mel spectrogram", "Chromagram", "Tempogram"]
    assert len({axes.get_xlim() for axes in drawn}) == 1
    assert drawn[0].get_xlim() == pytest.approx((0, 3), abs=0.03)
    assert all(axes.get_ylabel() for axes in figure.axes)
    boxes = [axes.get_tightbbox() for axes in drawn]
    heading = min(text.get_window_extent().y0 for text in figure.texts)
    edges = [heading, *(edge for box in boxes if box for edge in (box.y1, box.y0))]
    assert edges == sorted(edges, reverse=True)
