"""Prints the labels of audio files, without a track table, a warehouse or Spark.

It takes files and folders on disk, and objects and prefixes on S3. Without --model, it uses a published
tagger that is in the package.

    genremill tag song.mp3 albums/
"""

import importlib
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from genremill.infra import run_ids
from genremill.infra.audio.faults import AudioRejected
from genremill.infra.audio.store import AudioObject, AudioStore
from genremill.infra.errors import ExitCode, UsageError
from genremill.infra.log import LOGGER, start_log
from genremill.infra.progress_lines import DONE, progress_line, shown
from genremill.infra.terminal import json_line
from genremill.jobs import command
from genremill.jobs.features.extraction_settings import Options as ExtractOptions
from genremill.jobs.song_files import file_tags, finding, output
from genremill.jobs.song_files.finding import SongFile
from genremill.jobs.song_files.labels import Reading, Status, Tagger, Tags
from genremill.udfs.decoding import ffmpeg, metadata
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Barrier

MOST_FILES = 1000
"""For more files, the batch jobs are better suited: they use all cores, and remember what is done."""
MAX_REJECTS = ExtractOptions.max_rejects
"""Above this share of rejected files, the exit code is 3."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which files are tagged, with which model, and what is printed."""

    paths: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH ...")]]
    """Audio files, and folders with audio files."""
    model: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|WAREHOUSE")] = None
    """Model that takes audio, or a warehouse for its newest model. [the published tagger in the package]"""
    json: bool = False
    """Print one JSON document on stdout and everything else on stderr."""
    csv: bool = False
    """Print CSV on stdout and everything else on stderr."""
    write_tags: bool = False
    """Write the most likely genre into the tags of each file, and keep the old file as NAME.bak; needs the
    extra genremill[tag]."""
    ffmpeg: bool = False
    """Also decode formats that libsndfile lacks, such as M4A, with FFmpeg; needs the extra
    genremill[ffmpeg]."""
    sandbox: Barrier = Barrier.AUTO
    """`auto` decodes with the parts of the sandbox that the kernel has; `require` ends the command if one is
    lacking."""
    all: bool = False
    """Go on with more than 1,000 files."""
    batch: Annotated[str | None, tyro.conf.arg(metavar="WAREHOUSE")] = None
    """Start the batch jobs on one folder instead, with all cores: `nightly` in this warehouse, with --model
    or with the genres in the files."""


@dataclass(frozen=True)
class Tagged:
    """The results for files."""

    files: list[SongFile]
    results: dict[str, Tags]
    """By the name of the file."""
    note: str
    """What a user must know about the labels; empty if there is nothing."""


def tagged(options: Options) -> Tagged:
    """Tags the files; raises `UsageError` if there are none, or if they cannot be tagged like this."""
    _check(options)
    start_log(run_ids.from_clock(), "tag")
    files = finding.song_files(options.paths)
    _check_files(files, options)
    store = AudioStore(list(dict.fromkeys(file.root for file in files)))
    tagger = _tagger(options, Reading(store, options.ffmpeg, options.sandbox))
    return Tagged(files, _results(files, tagger, store, options.sandbox), tagger.note)


def tag(common: command.NoFlags, options: Options) -> command.Outcome:
    """Tags the files, and writes their tags if it was asked to; or starts the batch jobs."""
    if options.batch is not None:
        return _batch(options, options.batch)
    done = tagged(options)
    results, note = done.results, done.note
    written, failed = _write(done.files, results) if options.write_tags else ([], 0)
    if options.json or options.csv:
        for line in (note, *written):
            if line:
                LOGGER.info(line)
        text = json_line(output.document(results)) if options.json else output.csv_text(results)
    else:
        text = "\n".join([output.table_text(results), *written, *([f"\n{note}."] if note else [])])
    return command.Outcome({}, text, _exit_code(results, failed))


def _check(options: Options) -> None:
    """Raises `UsageError` on errors that can be seen without the files."""
    if options.json and options.csv:
        raise UsageError("--json and --csv both say what is printed; expected at most one of them")
    if options.ffmpeg:
        ffmpeg.require()
    if options.write_tags:
        metadata.require("--write-tags")


def _check_files(files: Sequence[SongFile], options: Options) -> None:
    """Raises `UsageError` if the files are too many, or cannot be written."""
    on_s3 = [file.name for file in files if not finding.is_local(file)]
    if options.write_tags and on_s3:
        raise UsageError(f"--write-tags: expected local files only, found {on_s3[0]}")
    if len(files) <= MOST_FILES:
        return
    flags = shlex.join(_nightly_flags(options, "wh", files[0].root))
    advice = (
        f"found {len(files):,} audio files. For more than {MOST_FILES:,}, the batch jobs are better suited: "
        "they use all cores and a cluster, and go on where they stopped:\n"
        f"  genremill nightly {flags}\n"
        "`genremill tag --batch wh` starts them"
    )
    if not options.all:
        raise UsageError(f"{advice}\nor use --all to go on with `genremill tag`")
    LOGGER.warning(advice)


def _nightly_flags(options: Options, warehouse: str, root: str) -> list[str]:
    """The flags of `nightly` for the files of a folder."""
    flags = ["--warehouse", warehouse, "--tracks-from-audio", root]
    flags += ["--score.model", options.model] if options.model else []
    flags += ["--extract.ffmpeg"] if options.ffmpeg else []
    return flags + (["--extract.sandbox", "require"] if options.sandbox is Barrier.REQUIRE else [])


def _batch(options: Options, warehouse: str) -> command.Outcome:
    """Runs `nightly` on one folder."""
    if len(options.paths) != 1:
        raise UsageError(f"--batch: expected one folder, found {len(options.paths)} paths")
    if options.write_tags or options.csv:
        raise UsageError("--batch: expected neither --csv nor --write-tags; the labels are in a warehouse")
    if options.model is not None:
        from genremill.jobs.song_files.model_sets import model_at  # here: numba takes seconds

        options = replace(options, model=model_at(options.model)[0])
    flags = _nightly_flags(options, warehouse, options.paths[0]) + ["--json"] * options.json
    nightly = importlib.import_module("genremill.jobs.nightly").main  # here: it imports Spark
    return command.Outcome({}, exit_code=ExitCode(nightly(flags)))


def _tagger(options: Options, reading: Reading) -> Tagger:
    # Imported here because numba and torch take seconds.
    if options.model is None:
        from genremill.jobs.song_files.published import PublishedTagger

        return PublishedTagger(reading)
    from genremill.jobs.song_files.trained import TrainedTagger

    return TrainedTagger(options.model, reading)


def _results(
    files: Sequence[SongFile], tagger: Tagger, store: AudioStore, barrier: Barrier
) -> dict[str, Tags]:
    """The result for each file, by its name."""
    started, count, results = time.monotonic(), Counter[str](), {}

    def line() -> str:
        return progress_line("tag", count.copy(), len(files), time.monotonic() - started, "files")

    found = store.stats([file.audio for file in files])
    with shown(line), Sandbox(barrier=barrier) as sandbox:
        for file, audio in zip(files, found, strict=True):
            results[file.name] = tags = _result(tagger, sandbox, audio)
            count[tags.reason or DONE] += 1
    LOGGER.info(line())
    return results


def _result(tagger: Tagger, sandbox: Sandbox, audio: AudioObject | AudioRejected) -> Tags:
    try:
        if isinstance(audio, AudioRejected):
            raise audio
        return tagger.tags(sandbox, audio)
    except AudioRejected as err:
        return Tags(Status.REJECTED, reason=err.reason, detail=err.detail)


def _write(files: Sequence[SongFile], results: dict[str, Tags]) -> tuple[list[str], int]:
    """A line for each file that was changed, and the number of files that could not be written."""
    lines, failed = [], 0
    for file in files:
        genre = results[file.name].genre
        if genre is None:
            continue
        try:
            backup = file_tags.write_genre(file.audio, genre)
        except file_tags.NotWritten as err:
            LOGGER.warning("%s", err)
            failed += 1
            continue
        if backup is not None:
            lines.append(f"{file.name}: wrote the genre {genre!r}; the old file is {backup}")
    return lines, failed


def _exit_code(results: dict[str, Tags], failed: int) -> ExitCode:
    rejected = sum(tags.reason is not None for tags in results.values())
    over = rejected > MAX_REJECTS * len(results)
    if over:
        LOGGER.warning("%d of %d files were rejected: more than %g", rejected, len(results), MAX_REJECTS)
    return ExitCode.REJECTS_OVER_LIMIT if over or failed else ExitCode.DONE


main = command.Command("tag", __doc__, Options, tag, command.NoFlags)

if __name__ == "__main__":
    raise SystemExit(main())
