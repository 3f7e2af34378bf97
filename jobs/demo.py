"""Writes a small synthetic catalog to try genremill on, with the statistics of a real track table.

It has artists with a style of their own, tracks with several genres, re-releases under other ids, tracks
without a label, a few bad rows, and short clips of audio for some tracks.

    genremill demo
"""

import csv
import io
from dataclasses import dataclass

from genremill.infra import storage
from genremill.infra.flag_types import Uri
from genremill.jobs import command
from genremill.jobs.snapshot_details import SYNTHETIC_COLUMN
from genremill.jobs.synthetic.catalog import GENRES, HEADER, rows
from genremill.jobs.synthetic.clips import write_clip


@dataclass(frozen=True)
class Options:
    """Where the catalog is written, and how large it is."""

    out: Uri = "genremill-demo/tracks.csv"
    """CSV file to write."""
    tracks: int = 6000
    """Number of recordings; re-releases and bad rows are added to them."""
    clips: int = 240
    """Number of recordings with a clip of audio, in the folder `clips` beside the CSV file."""
    seed: int = 0
    """Random seed of the catalog."""


def write(common: command.NoFlags, options: Options) -> command.Outcome:
    """Writes the catalog and its clips."""
    table, genres_of_clips = rows(options.tracks, min(options.clips, options.tracks), options.seed)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([[*HEADER, SYNTHETIC_COLUMN], *([*row, "yes"] for row in table)])
    out = storage.absolute_uri(options.out)
    for number, genre in enumerate(genres_of_clips):
        write_clip(out.rpartition("/")[0], number, genre, len(GENRES), options.seed)
    storage.write_atomic(out, text.getvalue().encode())
    folder = options.out.rpartition("/")[0] or "."
    text_shown = (
        f"{len(table):,} rows are in {options.out}, and {len(genres_of_clips):,} clips of audio in "
        f"{folder}/clips. To tag them, run:\n"
        f"  genremill nightly --warehouse {folder}/warehouse --tracks {options.out} --audio-root {folder}"
    )
    return command.Outcome({}, text_shown)


main = command.Command("demo", __doc__, Options, write, command.NoFlags)

if __name__ == "__main__":
    raise SystemExit(main())
