"""What the command lines of all jobs share: run id, warehouse, errors, exit codes and JSON."""

import contextlib
import dataclasses
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from genremill.infra import background, run_ids, storage
from genremill.infra.errors import ExitCode, GenremillError, UsageError
from genremill.infra.flag_types import OptionalFile, Uri
from genremill.infra.log import LOGGER, start_log
from genremill.infra.stores import local
from genremill.infra.terminal import (
    interrupted,
    json_line,
    open_streams,
    plain_lines,
    print_error,
    printing,
)
from genremill.infra.warehouse import Warehouse
from genremill.jobs import flags

if TYPE_CHECKING:  # where pyspark is missing, `doctor` still runs
    from pyspark.sql import SparkSession

CommonT = TypeVar("CommonT", bound="Common | NoFlags")
ConfigT = TypeVar("ConfigT")
ReadyT = TypeVar("ReadyT")


@dataclass(frozen=True)
class Common:
    """Flags that every job has."""

    warehouse: Uri
    """Folder or URI of the warehouse, which holds all tables, models and reports."""
    config: OptionalFile = None
    """YAML file with default values for these flags."""
    json: bool = False
    """Print one JSON document on stdout and everything else on stderr."""


@dataclass(frozen=True)
class Writing(Common):
    """Flags that every job that writes has."""

    dry_run: bool = False
    """Print what the job would do and write nothing."""


@dataclass(frozen=True)
class NoFlags:
    """Stands for no flags: a command may have none of its own, and a tool does not have the shared ones."""

    json: ClassVar[bool] = False


@dataclass(frozen=True)
class Run:
    """One run of a job."""

    warehouse: Warehouse
    run_id: str
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of a job: its JSON document, to which `job` adds the run id, and the text for a terminal."""

    summary: dict[str, Any]
    text: str = ""
    exit_code: ExitCode = ExitCode.DONE
    nothing_new: bool = False  # whether the job had nothing to do


@dataclass(frozen=True)
class Command(Generic[CommonT, ConfigT]):
    """The command line of a job."""

    name: str
    description: str | None
    config: type[ConfigT]
    run: Callable[[CommonT, ConfigT], Outcome]
    common: type[CommonT]

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Parses the flags, runs the job, prints its result and returns its exit code."""
        args = sys.argv[1:] if argv is None else argv
        open_streams()
        try:
            with known_errors():
                with printing():
                    common, cfg = flags.parse(self.name, self.description, self.config, self.common, args)
                require_linux()
                outcome = self.run(common, cfg)
                with printing(outcome.exit_code):
                    if common.json:
                        print(json_line(outcome.summary))
                    elif outcome.text:
                        print(plain_lines(outcome.text))
        except GenremillError as err:
            print_error(f"genremill {self.name}: {err}")
            return err.exit_code
        except SystemExit as err:  # tyro has printed what is wrong, or the help; or nobody reads stdout
            return int(err.code or ExitCode.DONE)
        except KeyboardInterrupt:
            return interrupted(f"genremill {self.name}")
        return outcome.exit_code


def job(
    name: str,
    description: str | None,
    config_type: type[ConfigT],
    ready: Callable[[Warehouse, ConfigT], ReadyT],
    run: Callable[[Run, ReadyT], Outcome],
    common_type: type[Common] = Writing,
    *,
    may_create: bool = False,
    repair: Callable[[Warehouse, ConfigT], None] | None = None,
) -> Command[Common, ConfigT]:
    """The command line of a job that runs in a warehouse.

    `ready` raises on all errors that can be seen without Spark, before the job starts and before it writes.
    It returns what `run` gets: the inputs that the job reads, or its settings. If the job may write, `repair`
    runs before it.
    """

    def in_warehouse(common: Common, cfg: ConfigT) -> Outcome:
        started = time.monotonic()
        writes = isinstance(common, Writing) and not common.dry_run
        warehouse = Warehouse.at(common.warehouse)
        start_log("starting", name)
        require_warehouse(warehouse, may_create)
        left_empty = [] if writes else _missing_folders(warehouse)
        if writes and repair:
            repair(warehouse, cfg)
        prepared = ready(warehouse, cfg)
        if writes:
            warehouse.follow()
        run_id = run_ids.take(warehouse.uri) if writes else run_ids.from_clock()
        start_log(run_id, name)
        work = Run(warehouse, run_id, dry_run=not writes)
        scratch = work.warehouse.tmp(work.run_id)
        try:
            with background.beating(scratch) if writes else contextlib.nullcontext():
                outcome = run(work, prepared)
        finally:
            storage.discard(scratch)  # `vacuum` removes what is left
            for folder in left_empty:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        LOGGER.info("done in %.1f s", time.monotonic() - started)
        return dataclasses.replace(outcome, summary={"run_id": work.run_id} | outcome.summary)

    return Command(name, description, config_type, in_warehouse, common_type)


def with_spark(
    name: str, run: Callable[["SparkSession", Run, ReadyT], Outcome]
) -> Callable[[Run, ReadyT], Outcome]:
    """Turns `run` into a function without the session argument: it opens a Spark session and calls `run`."""

    def in_session(work: Run, prepared: ReadyT) -> Outcome:
        from genremill.infra.session import spark_session

        with spark_session(f"genremill {name}") as spark:
            return run(spark, work, prepared)

    return in_session


@contextlib.contextmanager
def known_errors() -> Iterator[None]:
    """Raises a fault of the operating system in the block as a `StorageError`."""
    try:
        yield
    except OSError as err:
        if err.errno is None:
            raise
        raise local.system_error(err) from err


def require_linux() -> None:
    """Raises `UsageError` on another system: locks and the sandbox of the decoder need Linux."""
    if (system := platform.system()) != "Linux":
        raise UsageError(f"genremill runs on Linux, but this is {system}: use a container")


def check_seed(seed: int) -> None:
    """Raises `UsageError` if numpy or torch does not accept the --seed."""
    if not 0 <= seed < 1 << 32:
        raise UsageError(f"--seed {seed}: expected 0 to {(1 << 32) - 1}")


def require_warehouse(warehouse: Warehouse, may_create: bool = False) -> None:
    """Raises `UsageError` if there is no warehouse and it may not be created.

    Raises `StorageRefused` if it cannot be created, because there is no such bucket.
    """
    if not storage.exists(warehouse.uri) and not may_create:
        raise UsageError(
            f"--warehouse {warehouse.uri}: there is no warehouse at this place. Correct the URI, or create "
            f"the warehouse with `genremill nightly` or `genremill ingest`"
        )


def _missing_folders(warehouse: Warehouse) -> list[Path]:
    """The local folders that scratch files would create and leave behind, the innermost first."""
    if storage.is_s3(warehouse.uri):
        return []
    return [
        path
        for folder in (warehouse.path("_tmp"), warehouse.uri)
        if not (path := storage.local_path(folder)).exists()
    ]
