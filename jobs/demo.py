"""Writes a small synthetic catalog to try genremill: seeded, and statistically like a real track table.

Each artist has a style, tracks have one or more genres, some tracks are re-released under another id, some
have no label, and a few rows have errors. Some tracks have a short clip of audio.

    python -m genremill.jobs.demo --out build/demo/tracks.csv
"""

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from genremill.infra import storage
from genremill.infra.flag_types import Uri
from genremill.jobs.snapshot_details import SYNTHETIC_COLUMN
from genremill.jobs.synthetic.catalog import GENRES, HEADER, rows
from genremill.jobs.synthetic.clips import write_clip


@dataclass(frozen=True)
class Options:
    """Where the catalog is written, and how large it is."""

    out: Uri
    """CSV file to write."""
    tracks: int = 6000
    """Number of recordings; re-releases and bad rows are added to them."""
    clips: int = 240
    """Number of recordings with a clip of audio, in the folder `clips` beside the CSV file."""
    seed: int = 0
    """Random seed of the catalog."""


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the catalog."""
    options = tyro.cli(Options, prog="python -m genremill.jobs.demo", args=argv, description=__doc__)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*HEADER, SYNTHETIC_COLUMN])
    table, clips = rows(options.tracks, min(options.clips, options.tracks), options.seed)
    writer.writerows([*row, "yes"] for row in table)
    out = storage.absolute_uri(options.out)
    for clip in clips:
        write_clip(out.rpartition("/")[0], clip.number, clip.genre, len(GENRES), options.seed)
    storage.write_atomic(out, text.getvalue().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
