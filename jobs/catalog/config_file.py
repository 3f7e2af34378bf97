"""The text of a configuration file for `nightly` and the jobs, with a comment on each line."""

from collections.abc import Sequence

import yaml

from genremill.jobs.catalog.proposal import Guess
from genremill.jobs.snapshot_details import ColumnUse

CHECK = "# check"
_SECTIONS = """\
extract:
  # features: [gtzan57]     # feature sets: gtzan57, multiwindow, fma518, ...
  # seconds: 30             # part of each file that is decoded

cluster:
  # method: consensus       # or kmeans, spectral, affinity, manual with map: FILE
  # clusters: 20            # [the most stable number]

train:
  # model: fusion           # `genremill train --help` lists the models
  # inputs: auto            # or table, text and feature sets, joined by +

evaluate:

score:
  # model-version: NAME/VERSION   # tag with this model instead of training one

publish:
  # max-churn: 0.3          # largest share of tags that may change with the same model
"""


def file_text(
    tracks: str,
    audio_roots: Sequence[str],
    found: Sequence[Guess],
    vectors: Sequence[str],
    uses: Sequence[ColumnUse],
    read_as: str,
) -> str:
    """The whole file; a line that is not certain ends in `# check`."""
    lines = [
        "# Settings of genremill for one track table. Each job reads its own section:",
        "#   genremill nightly --config THIS_FILE --warehouse URI",
        "#   genremill ingest --config THIS_FILE --warehouse URI --dry-run",
        "# A flag on the command line takes precedence over this file.",
        "",
        f"tracks: {_scalar(tracks)}  # {read_as}",
    ]
    if audio_roots:
        lines.append(f"audio-root: [{', '.join(map(_scalar, audio_roots))}]")
    else:
        lines.append("# audio-root: [/data/audio]  # folders from which audio may be read")
    lines += ["", "ingest:", "  columns:"]
    lines += [
        f"    {guess.role.replace('_', '-')}: {_scalar(guess.value)}  {_comment(guess)}" for guess in found
    ]
    if vectors:
        lines += [f"    vectors: [{', '.join(map(_scalar, vectors))}]  # lists of numbers of one length"]
    lines += ["    # What becomes of the other columns; `features`, `categorical` and these lists change it:"]
    roles = {guess.column for guess in found}
    lines += [_line_of(use) for use in uses if use.column not in roles]
    lines += [
        "    # tags: []  # columns with tags other than the label",
        "    # text: []  # columns with text, such as lyrics",
        *([] if vectors else ["    # vectors: []  # columns with lists of numbers, such as embeddings"]),
        "    # ignore: []",
        "    # keep: []",
        "  # max-missing: 0.5  # largest share of missing values in a feature",
    ]
    return "\n".join([*lines, "", _SECTIONS])


def _line_of(use: ColumnUse) -> str:
    return f"    #   {_scalar(use.column)}: {', '.join(use.uses)} ({_plain(use.reason)})"


def _comment(guess: Guess) -> str:
    others = f"; or {', '.join(map(_plain, guess.others))}" if guess.others else ""
    return f"{'#' if guess.is_certain else CHECK + ':'} {guess.reason}{others}"


def _plain(text: str) -> str:
    """Text that is safe in a comment."""
    return "".join(character if character.isprintable() else " " for character in text)


def _scalar(value: str) -> str:
    """A value as YAML on one line, with quotes where it needs them."""
    style = None if value.isprintable() else '"'
    text: str = yaml.safe_dump(value, allow_unicode=True, width=10**9, default_style=style)
    return text.removesuffix("\n").removesuffix("\n...")
