"""What every job's command line shares: flags from dataclasses, run id, errors, exit codes, JSON."""

import contextlib
import dataclasses
import difflib
import itertools
import sys
import time
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias, TypeVar

import tyro

from genremill.infra import heartbeat, storage
from genremill.infra.errors import ExitCode, GenremillError, StorageError, UsageError
from genremill.infra.log import LOGGER, start_log
from genremill.infra.terminal import json_line, plain_lines
from genremill.infra.warehouse import Warehouse, new_run_id

ConfigT = TypeVar("ConfigT")
YamlValue: TypeAlias = bool | int | float | str | list[bool | int | float | str] | None
_POSITIONAL = typing.get_args(tyro.conf.Positional[str])[-1]
"""What marks a field that is given by its place, not by a flag."""


@dataclass(frozen=True)
class Common:
    """Flags that every job has."""

    warehouse: str
    """Folder or URI that holds all tables, models and reports."""
    json: bool = False
    """Print exactly one JSON document on stdout; all else goes to stderr."""
    config: str | None = None
    """YAML file with other defaults for these flags, under the same names."""


@dataclass(frozen=True)
class Writing(Common):
    """Flags that every job that writes has."""

    dry_run: bool = False
    """Say what would be done, and write nothing."""


@dataclass(frozen=True)
class Run:
    """One run of a job: where it works, and under which id."""

    warehouse: Warehouse
    run_id: str
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a job has to say when it is done."""

    summary: dict[str, Any]
    """The JSON document, less the run id."""
    text: str = ""
    """What a person at a terminal gets to read instead of JSON."""
    exit_code: ExitCode = field(default=ExitCode.DONE)
    nothing_new: bool = False
    """The job looked, and had nothing to do."""


def check_seed(seed: int) -> None:
    """Raises on a --seed that numpy and torch cannot both take."""
    if not 0 <= seed < 1 << 32:
        raise UsageError(f"--seed {seed}: expected 0 to {(1 << 32) - 1}")


def main(
    job: str,
    description: str | None,
    config_type: type[ConfigT],
    run: Callable[[Run, ConfigT], Outcome],
    argv: Sequence[str] | None,
    common_type: type[Common] = Writing,
) -> int:
    """Parses flags, runs the job in its warehouse, prints what it says, and returns the exit code."""

    def in_warehouse(common: Common, cfg: ConfigT) -> Outcome:
        started = time.monotonic()
        run_id = new_run_id()
        start_log(run_id, job)
        work = Run(Warehouse.at(common.warehouse), run_id, getattr(common, "dry_run", False))
        writes = isinstance(common, Writing) and not common.dry_run
        scratch = work.warehouse.tmp(run_id)
        with _scratch(scratch), heartbeat.beating(scratch) if writes else contextlib.nullcontext():
            outcome = run(work, cfg)
        LOGGER.info("done in %.1f s", time.monotonic() - started)
        return dataclasses.replace(outcome, summary={"run_id": run_id} | outcome.summary)

    return plain_main(job, description, config_type, in_warehouse, argv, common_type)


@contextlib.contextmanager
def _scratch(folder: str) -> Iterator[None]:
    """Removes a run's scratch folder at the end; what cannot be removed now, `vacuum` removes."""
    try:
        yield
    finally:
        try:
            storage.remove(folder)
        except StorageError as err:
            LOGGER.warning("%s is left behind: %s", folder, err)


def plain_main(
    job: str,
    description: str | None,
    config_type: type[ConfigT],
    run: Callable[[Any, ConfigT], Outcome],
    argv: Sequence[str] | None,
    common_type: type[Common],
) -> int:
    """The same for a job that works in no warehouse: `run` gets the shared flags themselves."""
    try:
        common, cfg = parse(
            job, description or "", config_type, common_type, sys.argv[1:] if argv is None else argv
        )
        outcome = run(common, cfg)
    except GenremillError as err:
        print(plain_lines(f"genremill {job}: {err}"), file=sys.stderr)
        return err.exit_code
    except SystemExit as err:  # tyro has said what is wrong, or printed the help
        return ExitCode.USAGE if err.code else ExitCode.DONE
    except KeyboardInterrupt:
        print(f"genremill {job}: interrupted; what was current stays current", file=sys.stderr)
        return 130
    if common.json:
        print(json_line(outcome.summary))
    elif outcome.text:
        print(plain_lines(outcome.text))
    return outcome.exit_code


def parse(
    job: str,
    description: str,
    config_type: type[ConfigT],
    common_type: type[Common],
    argv: Sequence[str],
) -> tuple[Common, ConfigT]:
    """The shared flags and the job's Config, from a command line over a YAML file's defaults."""
    flat = tyro.conf.arg(name="")
    both = dataclasses.make_dataclass(
        "Flags", [("common", Annotated[common_type, flat]), ("job", Annotated[config_type, flat])]
    )
    name = _config_file(argv)
    arguments = _flags_from_yaml(name, both) + list(argv) if name else list(argv)
    _check_names(job, arguments, both)
    parsed: Any = tyro.cli(
        both,
        prog=f"genremill {job}",
        description=description.strip(),
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.EnumChoicesFromValues),
    )
    return parsed.common, parsed.job


def _config_file(argv: Sequence[str]) -> str | None:
    for position, argument in enumerate(argv):
        if argument == "--config" and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith("--config="):
            return argument.removeprefix("--config=")
    return None


def _flags_from_yaml(file: str, flags: type) -> list[str]:
    """The flags that a YAML file stands for; real flags follow them and win."""
    import yaml

    if not storage.is_object(file):
        raise UsageError(f"--config {file}: no such file")
    try:
        settings = yaml.safe_load(storage.read_bytes(file))
    except yaml.YAMLError as err:
        raise UsageError(f"--config {file} is not plain YAML: {err}") from err
    if not isinstance(settings, dict):
        raise UsageError(f"--config {file}: expected a mapping of flags to values")
    known = flag_fields(flags)
    arguments: list[str] = []
    for name, value in _flatten(settings):
        if name not in known:
            raise UsageError(f"--config {file}: no flag is named {name!r}{_nearest(name, list(known))}")
        arguments += _as_arguments(name, value, known[name])
    return arguments


def _flatten(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        name = prefix + str(key).replace("_", "-")
        found += _flatten(value, name + ".") if isinstance(value, dict) else [(name, value)]
    return found


def _as_arguments(name: str, value: YamlValue, default: object) -> list[str]:
    if isinstance(value, bool) or isinstance(default, bool):
        if not isinstance(value, bool):
            raise UsageError(f"--config: {name} is on or off; expected true or false, found {value!r}")
        if value is default:
            return []
        parent, _, leaf = name.rpartition(".")
        return ["--" + (f"{parent}." if parent else "") + (leaf if value else f"no-{leaf}")]
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    return [f"--{name}", *(str(one) for one in values)]


def flag_fields(flags: type, prefix: str = "") -> dict[str, Any]:
    """Names of all flags of a dataclass of dataclasses, with their defaults; a positional one is no flag."""
    hints = typing.get_type_hints(flags)
    annotated = typing.get_type_hints(flags, include_extras=True)
    found: dict[str, Any] = {}
    for one in dataclasses.fields(flags):
        kind = hints[one.name]
        if _POSITIONAL in typing.get_args(annotated[one.name]):
            continue
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            inner = "" if one.name in ("common", "job") and not prefix else f"{prefix}{one.name}."
            found |= flag_fields(kind, inner.replace("_", "-"))
        else:
            found[prefix + one.name.replace("_", "-")] = one.default
    return found


def _check_names(job: str, arguments: list[str], flags: type) -> None:
    """Raises on a flag that does not exist, naming the nearest that does."""
    defaults = flag_fields(flags)
    known = {"help"} | set(defaults)
    for name, default in defaults.items():
        if isinstance(default, bool) and default:
            parent, _, leaf = name.rpartition(".")
            known.add(f"{parent}.no-{leaf}" if parent else f"no-{leaf}")
    for argument in itertools.takewhile(lambda one: one != "--", arguments):
        name = argument.removeprefix("--").partition("=")[0].replace("_", "-")
        if argument.startswith("--") and name and name not in known:
            near = _nearest("--" + name, sorted("--" + one for one in known))
            raise UsageError(f"no flag --{name}{near or ';'} `genremill {job} --help` lists them")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
