"""Packages that only some flags need, and that users install with an extra."""

import importlib

from genremill.infra.errors import UsageError


def require(flag: str, module: str, package: str, extra: str) -> None:
    """Raises `UsageError` if a module of a package is not installed; it names the flag and the extra."""
    try:
        importlib.import_module(module)
    except ImportError as err:
        raise UsageError(f"{flag} needs the package {package}: pip install 'genremill[{extra}]'") from err
