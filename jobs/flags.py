"""Flags of a command from its dataclasses, with defaults from a YAML file."""

import contextlib
import dataclasses
import difflib
import enum
import itertools
import os
import re
import typing
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import tyro

from genremill.infra.errors import GenremillError, UsageError
from genremill.infra.flag_types import registry

CommonT = TypeVar("CommonT")
ConfigT = TypeVar("ConfigT")
_POSITIONAL = typing.get_args(tyro.conf.Positional[str])[-1]
SECTIONS = frozenset({"ingest", "extract", "cluster", "train", "evaluate", "score", "publish"})
"""Sections of a file for `nightly`: one for each job that it runs."""
_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Flag:
    """One flag of a command: the type of its value, and the field of a dataclass that declares it."""

    type: Any
    owner: type
    field: str
    default: Any


def parse(
    job: str, description: str | None, config: type[ConfigT], common: type[CommonT], argv: Sequence[str]
) -> tuple[CommonT, ConfigT]:
    """Shared flags and Config; the command line overrides a YAML file, and the file overrides defaults."""
    flags, description = declared(common) | declared(config), _unwrapped(description or "")
    file = _config_file(argv)
    _check_names(job, argv, flags, with_pairs=file is not None)
    hidden: set[tuple[type, str]] = set()
    # The Config of a command with many flags names the main ones, which --help shows.
    main = getattr(config, "main_flags", None)
    if main is not None and ("--help" in argv or "-h" in argv):
        hidden = {(flag.owner, flag.field) for name, flag in flags.items() if name not in main}
        description += f"\n\nThese are the main flags: `genremill {job} --help-all` lists all {len(flags)}."
    both = all_flags(config, common)
    # Over a file, both --x and --no-x exist, so that the command line can change the file's value.
    pairs = () if file is not None else (tyro.conf.FlagCreatePairsOff,)
    parsed: Any = tyro.cli(
        both,
        prog=f"genremill {job}",
        description=description,
        args=["--help" if argument == "--help-all" else argument for argument in argv],
        default=default_of(both, {} if file is None else _values(job, file, flags)),
        config=(tyro.conf.EnumChoicesFromValues, *pairs),
        registry=registry(hidden),
    )
    return parsed.common, parsed.job


def _unwrapped(description: str) -> str:
    """A docstring with one line for each paragraph, since tyro breaks lines at its own places."""
    text = description.strip().replace("\n\n    ", "\n\nExample: ")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def all_flags(config_type: type, common_type: type) -> type:
    """One dataclass of the shared flags and of a job's own."""
    flat = tyro.conf.arg(name="")
    fields = [("common", Annotated[common_type, flat]), ("job", Annotated[config_type, flat])]
    return dataclasses.make_dataclass("Flags", fields)


def declared(config: type, prefix: str = "", *, positional: bool = False) -> dict[str, Flag]:
    """The flags of a dataclass and of the dataclasses in it, by name without the dashes.

    With `positional`, also arguments that have no dashes on the command line.
    """
    hints, annotated = typing.get_type_hints(config), typing.get_type_hints(config, include_extras=True)
    flags: dict[str, Flag] = {}
    for field in dataclasses.fields(config):
        name, kind = prefix + field.name.replace("_", "-"), hints[field.name]
        if dataclasses.is_dataclass(kind):
            flags |= declared(typing.cast(type, kind), f"{name}.", positional=positional)
        elif positional or _POSITIONAL not in typing.get_args(annotated[field.name]):
            flags[name] = Flag(kind, config, field.name, field.default)
    return flags


def default_of(config: type[ConfigT], values: dict[str, Any], prefix: str = "") -> ConfigT:
    """An instance with these values by flag; tyro requires a flag that has neither a value nor a default."""
    hints = typing.get_type_hints(config)
    chosen: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, config)):
        name, kind = prefix + field.name.replace("_", "-"), hints[field.name]
        no_default = field.default is field.default_factory is dataclasses.MISSING
        if dataclasses.is_dataclass(kind):
            inner = "" if config.__name__ == "Flags" else f"{name}."
            chosen[field.name] = default_of(typing.cast(type, kind), values, inner)
        elif name in values or no_default:
            chosen[field.name] = values.get(name, tyro.MISSING)
    return config(**chosen)


@contextlib.contextmanager
def in_section(section: str, config: object) -> Iterator[None]:
    """Errors name the flags of a section as the user types them: `--ingest.limit`, not `--limit`."""
    try:
        yield
    except GenremillError as err:
        err.args = (qualified(str(err), section, config), *err.args[1:])
        raise


def qualified(message: str, section: str, config: object) -> str:
    """The message, in which --limit and `ingest --limit` become --ingest.limit if `ingest` is a section.

    Complete commands, such as `genremill ingest --limit 5`, stay as they are.
    """
    names = _with_negatives(declared(type(getattr(config, section))))

    def full(match: re.Match[str]) -> str:
        job, flag_of_job, flag = match.groups()
        if hasattr(config, job or ""):
            return f"--{job}.{flag_of_job}"
        return f"--{section}.{flag}" if flag in names else match[0]

    flag = "--([a-z]+(?:[.-][a-z]+)*)"
    return re.sub(rf"`([a-z]+) {flag}`|`[^`]*`|(?<![\w-]){flag}", full, message)


def _config_file(argv: Sequence[str]) -> str | None:
    for argument, following in itertools.zip_longest(argv, argv[1:]):
        if argument.startswith("--config="):
            return str(argument.removeprefix("--config="))
        if argument == "--config":
            return following
    return None


def _values(job: str, file: str, flags: dict[str, Flag]) -> dict[str, Any]:
    """The values in a YAML file by flag, each of the flag's type; a null leaves the default.

    In a file for `nightly`, another job reads the section of its own name, and the values outside of sections
    that it has a flag for.
    """
    from genremill.infra import yaml_files

    settings = yaml_files.read("--config", file, "a YAML file")
    if not isinstance(settings, dict):
        raise UsageError(f"--config {file}: expected a mapping of flags to values; found {settings!r:.40}")
    return _checked(f"--config {file}", _for_job(job, settings, flags), flags)


def config_of(job: str, config: type[ConfigT], settings: dict[str, Any]) -> ConfigT:
    """The Config of a job with these settings, which are nested as in a YAML file.

    Raises `UsageError` if a setting is unknown, is missing or has another type. The error names the setting.
    """
    flags = declared(config, positional=True)
    values = _checked(f"{job}()", _plain(job, settings), flags)
    for name, flag in flags.items():
        if flag.default is dataclasses.MISSING and name not in values:
            raise UsageError(f"{job}(): the setting {name.replace('-', '_')} is missing")
    return default_of(config, values)


def _plain(job: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as a YAML file can hold them: paths as text, and tuples as lists."""
    import msgspec

    try:
        plain: dict[str, Any] = msgspec.to_builtins(settings, enc_hook=os.fspath)
    except TypeError as err:
        raise UsageError(f"{job}(): {err}") from err
    return plain


def _checked(where: str, settings: dict[str, Any], flags: dict[str, Flag]) -> dict[str, Any]:
    """Nested settings as values by flag, each of the flag's type."""
    values = {}
    for name, value in _flattened(settings):
        if value is None and any(flag.startswith(f"{name}.") for flag in flags):
            continue  # a section in which all lines are comments
        if name not in flags:
            raise UsageError(f"{where}: no flag is named {name!r:.200}{_nearest(name, flags)}")
        if value is not None:
            values[name] = _converted(f"{where}: {name}", value, flags[name].type)
    return values


def _for_job(job: str, settings: dict[str, Any], flags: dict[str, Flag]) -> dict[str, Any]:
    """The settings of one job. If a file has no sections for jobs, all its settings are for this job."""
    names = {flag.partition(".")[0] for flag in flags}
    if not SECTIONS & settings.keys() or names >= SECTIONS:  # nightly and plan have all sections
        return settings
    shared = {
        key: value for key, value in settings.items() if str(key).replace("_", "-") in names and key != job
    }
    section = settings.get(job) or {}
    return shared | (section if isinstance(section, dict) else {job: section})


def _flattened(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        name = prefix + str(key).replace("_", "-")
        if isinstance(value, dict):
            yield from _flattened(value, f"{name}.")
        else:
            yield name, value


def _converted(flag: str, value: object, kind: type) -> object:
    import msgspec

    in_list = typing.get_origin(kind) is tuple and not isinstance(value, list)
    try:
        # Not strict, because YAML reads 1e-3 as text.
        return msgspec.convert([value] if in_list else value, kind, strict=kind is bool)
    except msgspec.ValidationError as err:
        raise UsageError(f"{flag}: expected {_expected(kind)}; found {value!r:.200}") from err


def _expected(kind: type) -> str:
    """The values that a type accepts, in words.

    >>> _expected(tuple[float, ...] | None)
    'a list, each a number'
    """
    parts = [part for part in typing.get_args(kind) if part not in (type(None), ...)]
    if typing.get_origin(kind) is tuple:
        length = "" if ... in typing.get_args(kind) else f" of {len(parts)}"
        return f"a list{length}, each {_expected(parts[0])}"
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(parts)}"
    if parts:
        return _expected(parts[0])
    if issubclass(kind, enum.Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    return _EXPECTED.get(kind, "text, in quotes where it looks like something else")


def _check_names(job: str, argv: Sequence[str], flags: dict[str, Flag], with_pairs: bool) -> None:
    """Raises `UsageError` on a flag that does not exist; the message names the most similar flag."""
    # Without a file, a switch that is on can only be turned off, and one that is off only on.
    typed = {_negative(name) if flag.default is True else name for name, flag in flags.items()}
    known = {"help", "help-all"} | (_with_negatives(flags) if with_pairs else typed)
    for argument in itertools.takewhile(lambda argument: argument != "--", argv):
        name = argument.removeprefix("--").partition("=")[0].replace("_", "-")
        if argument.startswith("--") and name and name not in known:
            near = _nearest("--" + name, sorted("--" + flag for flag in known))
            raise UsageError(f"no flag --{name}{near or ';'} `genremill {job} --help` lists them")


def _with_negatives(flags: dict[str, Flag]) -> set[str]:
    return flags.keys() | {_negative(name) for name, flag in flags.items() if flag.type is bool}


def _negative(name: str) -> str:
    return re.sub(r"[^.]+$", r"no-\g<0>", name)


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
