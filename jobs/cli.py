"""`genremill <job> …`: finds the job and calls its `main`. Modules are imported only when they are needed."""

import contextlib
import dataclasses
import difflib
import functools
import importlib
import operator
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any, Literal

from genremill.infra.errors import ExitCode, StorageError
from genremill.infra.terminal import interrupted, open_streams, print_error, printing

JOBS = {
    "nightly": "run all steps from ingest to publish; skip steps whose inputs have not changed",
    "plan": "show what nightly would do and what it would cost",
    "ingest": "read and check a track table; write one row per track",
    "extract": "decode audio in a sandbox and write feature vectors",
    "cluster": "group genres into clusters",
    "train": "train a model on the labeled tracks",
    "evaluate": "measure a model on held-out tracks and write an HTML report",
    "score": "tag every track with a model and stage the tags",
    "publish": "audit the staged tags and make them current; also roll back",
    "study": "train over a grid of settings and chart accuracy and time",
    "show": "show one track: its tags, features and a picture of its audio",
    "tables": "list the current snapshot of each table",
    "vacuum": "list, or with --yes remove, old runs and the leftovers of killed jobs",
    "doctor": "check Java, Spark, Python packages and the warehouse",
}
TOOLS = {
    "tag": "print labels of audio files, without a table, a warehouse or Spark",
    "init": "propose the columns of a track table and write genremill.yaml",
    "demo": "write a small synthetic catalog to try genremill on",
    "replica": "write a large catalog made from a real one to test performance",
}
SHELLS = ("bash", "zsh", "fish")


def _listed(commands: dict[str, str]) -> str:
    return "\n".join(f"  {name:<10}{text}" for name, text in commands.items())


HELP = f"""usage: genremill JOB [flags]

Tags music catalogs with genres, as Spark batch jobs.

{_listed(JOBS)}

Tools:
{_listed(TOOLS)}

  genremill help JOB          show the flags of a job (the same as `genremill JOB --help`)
  genremill completion SHELL  print a completion script; SHELL is {"|".join(SHELLS)}
  genremill --version         print the version

Example:
  genremill nightly --warehouse build/warehouse --tracks tracks.csv

Exit codes: 0 done, 1 bug, 2 wrong usage or refused by an audit, 3 done but more rejects than the limit,
4 storage or cluster error that a retry may fix."""


def _completion(shell: str) -> int:
    """Prints a script that completes jobs and flags in a shell."""
    import tyro

    from genremill.infra.flag_types import registry

    if shell not in SHELLS:
        print_error(f"genremill completion: expected one of {', '.join(SHELLS)}; found {shell!r}")
        return ExitCode.USAGE
    style = (tyro.conf.EnumChoicesFromValues, tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
    arguments = ["--tyro-print-completion", shell]
    with contextlib.suppress(SystemExit):
        tyro.cli(_all_commands(), prog="genremill", args=arguments, config=style, registry=registry())
    return ExitCode.DONE


def _all_commands() -> Any:  # noqa: ANN401 (a union that is built at run time)
    """A union of the flags of all commands; a module that names no `Common` has the flags of `Writing`."""
    import tyro

    from genremill.jobs import command, flags

    commands: list[Any] = []
    for name, description in (JOBS | TOOLS).items():
        module = importlib.import_module(f"genremill.jobs.{name}")
        common = getattr(module, "Common", command.Writing)
        kind = module.Options if name in TOOLS else flags.all_flags(module.Config, common)
        commands.append(Annotated[kind, tyro.conf.subcommand(name, description=description)])
    for name, words in (("help", (*JOBS, *TOOLS)), ("completion", SHELLS)):
        word: Any = Annotated[Literal.__getitem__(words), tyro.conf.Positional]
        kind = dataclasses.make_dataclass(name, [("word", word)])
        commands.append(Annotated[kind, tyro.conf.subcommand(name)])
    return functools.reduce(operator.or_, commands)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    command, *arguments = list(sys.argv[1:] if argv is None else argv) or ["help"]
    open_streams()
    if command == "help" and arguments:
        command, arguments = arguments[0], ["--help-all" if "--all" in arguments else "--help"]
    if command in ("-h", "--help", "help", "--version", "completion"):
        return _answer(command, arguments)
    if command not in JOBS | TOOLS:
        near = difflib.get_close_matches(command, JOBS | TOOLS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print_error(f"genremill: no job is named {command!r}{hint}\n\n{HELP}")
        return ExitCode.USAGE
    try:
        exit_code: int = importlib.import_module(f"genremill.jobs.{command}").main(arguments)
        return exit_code
    except KeyboardInterrupt:  # while its modules are imported
        return interrupted(f"genremill {command}")


def _answer(command: str, arguments: Sequence[str]) -> int:
    """Prints the help, the version or a completion script."""
    try:
        with printing():
            if command == "completion":
                return _completion(*arguments[:1] or [""])
            print(f"genremill {version('genremill')}" if command == "--version" else HELP)
            return ExitCode.DONE
    except StorageError as err:
        print_error(f"genremill: {err}")
        return err.exit_code


if __name__ == "__main__":
    sys.exit(main())
