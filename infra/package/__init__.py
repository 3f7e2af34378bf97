"""Spark batch jobs that re-tag large music catalogs with genres, and their interface for Python.

    import genremill

    genremill.tag(["song.mp3"])                   # the labels of files, without Spark
    genremill.nightly("wh", tracks="tracks.csv")  # a job; every job is a function
    genremill.Warehouse("wh").tags()              # the current tags, as a pandas DataFrame

What a name needs is imported when the name is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genremill.infra.errors import (
        AuditRefused,
        GenremillError,
        RejectsOverLimit,
        StorageError,
        UsageError,
    )
    from genremill.jobs.interface.functions import (
        cluster,
        demo,
        evaluate,
        extract,
        ingest,
        nightly,
        plan,
        publish,
        score,
        show,
        study,
        tag,
        train,
        vacuum,
    )
    from genremill.jobs.interface.reading import Warehouse

__version__ = version("genremill")
__all__ = [
    "AuditRefused",
    "GenremillError",
    "RejectsOverLimit",
    "StorageError",
    "UsageError",
    "Warehouse",
    "cluster",
    "demo",
    "evaluate",
    "extract",
    "ingest",
    "nightly",
    "plan",
    "publish",
    "score",
    "show",
    "study",
    "tag",
    "train",
    "vacuum",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (a class or a function)
    if name not in __all__:
        raise AttributeError(f"module 'genremill' has no attribute {name!r}")
    if name == "Warehouse":
        module = "genremill.jobs.interface.reading"
    else:
        module = "genremill.jobs.interface.functions" if name.islower() else "genremill.infra.errors"
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
