"""Every link and every path of a source file in the documentation exists."""

import re
from pathlib import Path

import pytest

from tests.docs.documentation import DOCS, PAGES, anchors, links, name_of


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_and_anchor_exists(page: Path) -> None:
    broken = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_named_source_file_exists(page: Path) -> None:
    named = re.findall(r"`((?:jobs|udfs|models|infra|tests)/[\w./-]+)`", page.read_text())
    assert [path for path in named if not (DOCS.parent / path).exists()] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = DOCS / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert set(PAGES) - {index} - {page.resolve() for page in listed} == set()


def test_images_are_small_and_used() -> None:
    images = [path for path in (DOCS / "images").iterdir() if path.is_file()]
    used = {(page.parent / link).resolve() for page in PAGES for link in links(page) if "images/" in link}
    assert set(images) == used
    assert max(path.stat().st_size for path in images) < 300_000


def test_the_readme_is_short() -> None:
    assert len((DOCS.parent / "README.md").read_text().splitlines()) <= 160
