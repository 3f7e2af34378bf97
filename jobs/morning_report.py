"""The page of a night, `night.html`: what ran and why, what it rejected, what changed, and how good it is."""

from collections.abc import Sequence

from genremill.infra import pages
from genremill.jobs.night import Night

NIGHTS = 5
"""Earlier nights that a page compares with."""


def render(night: Night, earlier: Sequence[Night]) -> str:
    """The page as one self-contained HTML document; `earlier` nights are newest first."""
    return pages.page(
        f"Night {night.run_id} · genremill", pages.masthead("genremill · night", night.run_id, night.error)
    )
