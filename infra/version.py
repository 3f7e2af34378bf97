"""The version of the code, for the record of an output."""

import functools
import subprocess
from importlib.metadata import version
from pathlib import Path


@functools.lru_cache(maxsize=1)
def git_revision() -> str | None:
    """Git revision of the checkout, with `-dirty` if it has changes; None for an installed package."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def code_version() -> str:
    """Version of the package, with the git revision if there is one: `0.1.0+g1a2b3c`."""
    revision = git_revision()
    return version("genremill") + (f"+g{revision}" if revision else "")
