"""The pictures in the documentation, and the program that takes the screenshots."""

import re
from pathlib import Path

import pytest

from genremill.jobs.nights.estimates import REWRITES
from tests.docs import make_images
from tests.docs.documentation import DOCS


def test_the_drawing_shows_every_step_of_a_night() -> None:
    drawing = (DOCS / "images" / "pipeline.svg").read_text()
    assert set(re.findall(r'class="on-job"[^>]*>(\w+)<', drawing)) == set(REWRITES)
    assert "prefers-color-scheme: dark" in drawing


def test_a_missing_browser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="apt install chromium"):
        make_images.chromium()


def test_a_screenshot_is_taken_of_the_newest_page(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has no report\.html"):
        make_images.newest(tmp_path, "report.html")
    for run in ("20261121T021500-3fa9c1", "20261122T021500-9b04d2"):
        page = tmp_path / "reports" / run / "report.html"
        page.parent.mkdir(parents=True)
        page.write_text("")
    assert make_images.newest(tmp_path, "report.html") == page


def test_a_browser_that_takes_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="could not take the picture"):
        make_images.take("false", "<p>", tmp_path / "image.png")


def test_a_picture_does_not_show_the_folder_of_this_machine(tmp_path: Path) -> None:
    page = f"warehouse file://{tmp_path}/build/warehouse"
    assert (
        make_images.without_path(page, tmp_path / "build" / "warehouse") == "warehouse file:///data/warehouse"
    )
