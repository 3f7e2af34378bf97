"""Proposes the columns of a track table, and writes a commented configuration file.

It looks at the names of the columns and at the first rows. On a terminal it asks where it is not sure;
elsewhere it writes its best guess and marks these lines with `# check`.

    genremill init --tracks tracks.csv
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genremill.infra import run_ids, storage
from genremill.infra.errors import UsageError
from genremill.infra.flag_types import Uri, Uris
from genremill.infra.terminal import plain
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.catalog import column_table
from genremill.jobs.catalog.proposal import Guess

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, kw_only=True)
class Options:
    """The table that is described, and the file that is written."""

    tracks: Uri
    """Path or URI of the track table."""
    audio_root: Uris = ()
    """Folders or URI prefixes from which audio may be read. [no audio]"""
    output: Uri = "genremill.yaml"
    """File to write."""
    force: bool = False
    """Replace the file if it exists."""


def write(common: command.NoFlags, options: Options) -> command.Outcome:
    """Writes the file, and shows what the columns are."""
    output = storage.absolute_uri(options.output)
    if storage.is_object(output) and not options.force:
        raise UsageError(
            f"--output {options.output}: the file exists; remove it, or use --force to replace it"
        )
    source = storage.absolute_uri(options.tracks)
    with tempfile.TemporaryDirectory(prefix="genremill-init-") as scratch:
        work = command.Run(Warehouse.at(scratch), run_ids.from_clock(), dry_run=True)
        return command.with_spark("init", _propose)(
            work, dataclasses.replace(options, tracks=source, output=output)
        )


def _propose(spark: "SparkSession", work: command.Run, options: Options) -> command.Outcome:
    from genremill.jobs.catalog import config_file, proposal, source_rows
    from genremill.jobs.catalog.catalog_source import TABLE, CatalogSource
    from genremill.jobs.catalog.settings import Options as IngestOptions
    from genremill.jobs.catalog.understanding import understand

    table = source_rows.open_table(spark, work, CatalogSource(TABLE, options.tracks), IngestOptions())
    sample = source_rows.first_rows(table)
    if not sample.rows:
        raise UsageError(f"--tracks {options.tracks}: it has a header and no rows; expected at least one row")
    found = proposal.guesses(sample)
    if sys.stdin.isatty() and sys.stdout.isatty():
        found = [_asked(guess, list(sample.columns)) for guess in found]
    vectors = proposal.vector_columns(sample)
    understood = understand(
        sample, proposal.columns_of(found, vectors), f"--tracks {options.tracks}", frozenset(), table.left_out
    )
    text = config_file.file_text(
        options.tracks, options.audio_root, found, vectors, understood.uses, table.format.description
    )
    storage.write_atomic(options.output, text.encode())
    return command.Outcome({}, "\n".join(_report(options.output, found, column_table.lines(understood.uses))))


def _asked(guess: Guess, columns: Sequence[str]) -> Guess:
    """The guess, or the column that the user types instead; asks only if the guess is not certain."""
    if guess.is_certain:
        return guess
    print(f"Which column holds the {guess.role.replace('_', ' ')}? Proposed: {guess.value} ({guess.reason}).")
    print(plain(f"  others: {', '.join(guess.others or columns)}"))
    while True:
        answer = _typed(f"  column, or none [{guess.value}]: ") or guess.value
        if answer in (*columns, "none"):
            column = None if answer == "none" else answer
            return dataclasses.replace(
                guess, column=column, reason="chosen by the user", others=(), is_certain=True
            )
        print(f"  the table has no column {answer!r}")


def _typed(prompt: str) -> str:
    """What the user types; an end of the input is an empty answer."""
    try:
        return input(plain(prompt)).strip()
    except EOFError:
        return ""


def _report(output: str, found: Sequence[Guess], table: Sequence[str]) -> list[str]:
    """What was written, what to check, and how to go on."""
    unsure = [guess for guess in found if not guess.is_certain]
    lines = [*table, ""]
    if unsure:
        lines.append(f"Check these lines of {output}:")
        lines += [f"  {guess.role.replace('_', '-')}: {guess.value} ({guess.reason})" for guess in unsure]
    else:
        lines.append(f"{output} is written; no line needs a check.")
    return [*lines, f"Then run: genremill nightly --config {output} --warehouse URI"]


main = command.Command("init", __doc__, Options, write, command.NoFlags)

if __name__ == "__main__":
    raise SystemExit(main())
