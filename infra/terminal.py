"""Makes text from the data safe for a terminal: it cannot move the cursor or reverse other text."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import TextIO

from genremill.infra.errors import StorageError

INTERRUPTED = 128 + signal.SIGINT
"""The exit code after Ctrl-C, as shells report it."""


def plain(text: str) -> str:
    r"""The text with a dot for each character that is not printable: controls, escapes, direction marks.

    >>> plain("\x1b[31mred")
    '·[31mred'
    """
    return "".join(letter if letter.isprintable() else "·" for letter in text)


def plain_lines(text: str) -> str:
    """The same for each line of a text."""
    return "\n".join(map(plain, text.split("\n")))


def cell(text: str, width: int) -> str:
    """Plain text in a column of `width` characters; longer text is cut.

    >>> cell("Interlude", 8), cell("Intro", 8)
    ('Interl… ', 'Intro   ')
    """
    shown = plain(text)
    return f"{shown if len(shown) < width else shown[: width - 2] + '…':<{width}}"


def json_line(document: object) -> str:
    r"""The document as JSON on one line, with an escape for each character that is not printable.

    >>> print(json_line({"title": "naïve \x9b1m"}))
    {"title": "naïve \u009b1m"}
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def open_streams() -> None:
    """Replaces stdout or stderr that the caller has closed; what is written to it is dropped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def print_error(text: str) -> None:
    """Prints plain lines to stderr; if stderr is full or closed, the exit code still says what is wrong."""
    try:
        print(plain_lines(text), file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def interrupted(what: str) -> int:
    """Prints the only line about Ctrl-C, which has no effect from now on, and returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print_error(f"{what}: interrupted; run it again to continue")
    return INTERRUPTED


@contextlib.contextmanager
def printing(exit_code: int = 0) -> Iterator[None]:
    """Ends the program without an error message if the reader of stdout, such as `head`, ends first.

    Raises `StorageError` if stdout cannot be written for another reason, such as a full disk.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop(sys.stdout)
        raise SystemExit(exit_code) from None
    except OSError as err:
        _drop(sys.stdout)
        raise StorageError(f"cannot write to stdout: {err.strerror}") from err


def _drop(stream: TextIO) -> None:
    """Sends the rest of a stream nowhere, so that the flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
