"""Which code made an output."""

import functools
import subprocess
from importlib.metadata import version
from pathlib import Path


@functools.lru_cache(maxsize=1)
def git_revision() -> str | None:
    """Revision of the checkout this code runs from, with `-dirty`; None where it runs installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def code_version() -> str:
    """Version of the package, with the git revision where there is one: `0.1.0+g1a2b3c`."""
    revision = git_revision()
    return version("genremill") + (f"+g{revision}" if revision else "")
