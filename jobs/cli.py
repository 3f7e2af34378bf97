"""`genremill <job> …`: finds the job and calls its `main`; nothing is imported before it is needed."""

import difflib
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version

from genremill.infra.errors import ExitCode

JOBS = {
    "nightly": "all of it, from ingest to publish; a step whose inputs have not changed is skipped",
    "plan": "what nightly would do and cost, without doing it",
    "ingest": "read a track table, check it, write one row a track",
    "extract": "read audio objects, decode them in a sandbox, write feature vectors",
    "cluster": "group the genres: genre to cluster",
    "train": "train a model on the labelled tracks",
    "evaluate": "metrics and the HTML report of a model on held-out tracks",
    "score": "tag every track with a model: staged tags",
    "publish": "audit staged tags and make them current, or refuse; also roll back",
    "study": "train over a grid of settings, resumable: accuracy and time, drawn",
    "show": "one track: its tags, features and pictures of its audio",
    "tables": "list each table's current snapshot",
    "vacuum": "remove old runs, and what killed jobs have left; says what would go unless --yes",
    "doctor": "check Java, Spark, Python packages and the warehouse",
}


def _help() -> str:
    width = max(map(len, JOBS)) + 2
    jobs = "\n".join(f"  {name:<{width}}{what}" for name, what in JOBS.items())
    return (
        "usage: genremill <job> --warehouse URI [flags]\n\n"
        "Re-tags music catalogs with genres, as Spark batch jobs.\n\n"
        f"{jobs}\n\n"
        "`genremill <job> --help` lists a job's flags. Exit codes: 0 done, 1 bug, 2 usage or refused by an\n"
        "audit, 3 finished, but with more rejects than the limit, 4 storage or cluster fault worth a retry."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return ExitCode.DONE
    if arguments[0] == "--version":
        print(f"genremill {version('genremill')}")
        return ExitCode.DONE
    job = arguments[0]
    if job not in JOBS:
        near = difflib.get_close_matches(job, JOBS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"genremill: no job is named {job!r}{hint}\n\n{_help()}", file=sys.stderr)
        return ExitCode.USAGE
    exit_code: int = importlib.import_module(f"genremill.jobs.{job}").main(arguments[1:])
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
