"""The jobs and `tag` as functions. They raise the errors of `genremill.infra.errors`."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from genremill.infra.errors import ExitCode, RejectsOverLimit, UsageError
from genremill.jobs import flags
from genremill.jobs.cli import JOBS
from genremill.jobs.command import Command, NoFlags, known_errors, require_linux
from genremill.jobs.song_files.labels import Tags


class Job(Protocol):
    """A job as a function."""

    def __call__(
        self,
        warehouse: str | os.PathLike[str],
        config: object = None,
        *,
        dry_run: bool = False,
        **settings: Any,  # noqa: ANN401 (the flags of the job)
    ) -> dict[str, Any]:
        """Runs the job and returns what `--json` prints.

        The settings are the flags of the command, nested as in its YAML file, or a whole `Config`. A running
        Spark session is used, and stays open. Errors have an attribute `exit_code`, that of the command.
        """


def _job(name: str) -> Job:
    def run(
        warehouse: str | os.PathLike[str],
        config: object = None,
        *,
        dry_run: bool = False,
        **settings: Any,  # noqa: ANN401 (the flags of the job)
    ) -> dict[str, Any]:
        command: Command[Any, Any] = import_module(f"genremill.jobs.{name}").main
        if config is not None and settings:
            raise UsageError(f"{name}(): expected a config or settings, found both: {', '.join(settings)}")
        require_linux()
        cfg = flags.config_of(name, command.config, settings) if config is None else config
        common = command.common(warehouse=os.fspath(warehouse), **({"dry_run": True} if dry_run else {}))
        with known_errors():
            outcome = command.run(common, cfg)
        if outcome.exit_code is ExitCode.REJECTS_OVER_LIMIT:
            raise RejectsOverLimit(f"{name}: done, but more rejects than the limit", outcome.summary)
        return outcome.summary

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"Runs the job `{name}`: {JOBS[name]}. Returns what `genremill {name} --json` prints.\n\n"
        f"The settings are the flags of the command, with `_` for `-`, nested as in its YAML file. A whole\n"
        f"`genremill.jobs.{name}.Config` can be given instead. A running Spark session is used, and stays "
        "open.\n"
        "Raises `UsageError` and `AuditRefused` (exit code 2), `RejectsOverLimit` (3) and `StorageError` (4)."
    )
    return run


nightly, plan, ingest, extract, cluster = map(_job, ("nightly", "plan", "ingest", "extract", "cluster"))
train, evaluate, score, publish = map(_job, ("train", "evaluate", "score", "publish"))
study, show, vacuum = map(_job, ("study", "show", "vacuum"))


def demo(out: str | os.PathLike[str], *, tracks: int = 6000, clips: int = 240, seed: int = 0) -> None:
    """Writes a small synthetic catalog to a CSV file, and clips of audio to the folder `clips` beside it."""
    from genremill.jobs.demo import Options, write

    write(NoFlags(), Options(os.fspath(out), tracks, clips, seed))


def tag(paths: str | Sequence[str], *, model: str | None = None, ffmpeg: bool = False) -> dict[str, Tags]:
    """The labels of audio files, by path, without a warehouse or Spark.

    Paths are files and folders, also on S3. `model` is the folder of a model that takes audio, or a
    warehouse; without it, the published tagger in the package is used, whose tags are general. A file that
    cannot be read has no labels and a reason. Raises `UsageError` if a path does not exist, or if the model
    needs more than audio.
    """
    from genremill.jobs.tag import Options, tagged  # here: numba takes seconds

    of = (paths,) if isinstance(paths, str) else tuple(paths)
    return tagged(Options(paths=of, model=model, ffmpeg=ffmpeg, all=True)).results
