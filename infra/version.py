"""The version of the code, for the record of an output."""

import functools
import subprocess
from importlib.metadata import version
from pathlib import Path


@functools.lru_cache(maxsize=1)
def git_revision() -> str | None:
    """Git revision of the checkout, with `-dirty` if it has changes; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def code_version() -> str:
    """Version of the package, with the git revision if there is one: `0.1.0+g1a2b3c`."""
    revision = git_revision()
    return version("genremill") + (f"+g{revision}" if revision else "")
