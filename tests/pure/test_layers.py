"""The structure of the code: imports go down the floors and rooms only, and never in a circle."""

import ast
import functools
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("jobs", "udfs", "models", "infra")
"""A module imports from its own floor and from those after it."""
COMMANDS = "jobs.<command>"
JOB_ROOMS = (
    ("jobs.interface",),
    ("jobs.cli",),
    ("jobs.plan",),
    ("jobs.nightly",),
    ("jobs.nights",),
    (COMMANDS,),
    ("jobs.audits", "jobs.studies", "jobs.inspection", "jobs.synthetic", "jobs.retention"),
    ("jobs.song_files",),
    ("jobs.evaluation",),
    ("jobs.genres",),
    ("jobs.training",),
    ("jobs.job_inputs",),
    ("jobs.features",),
    ("jobs.catalog",),
    ("jobs.model_registry",),
    ("jobs.lakehouse",),
    ("jobs.snapshots",),
    ("jobs.generations",),
    ("jobs.snapshot_details",),
    ("jobs.command",),
    ("jobs.flags", "jobs.contracts"),
)
"""The rooms of the first floor in the same order; rooms in one line do not import each other, and neither do
commands."""
MOST_FILES_AT_THE_TOP_OF_JOBS = 27


@functools.cache
def _modules() -> dict[str, Path]:
    """File by module name, without `genremill.`; the root of the package may import every floor."""
    files = [path.relative_to(ROOT) for floor in FLOORS for path in (ROOT / floor).rglob("*.py")]
    names = {".".join(path.with_suffix("").parts): ROOT / path for path in files}
    return {
        name.removesuffix(".__init__"): path
        for name, path in names.items()
        if not name.startswith(("infra.package", "infra.deploy"))
    }


@functools.cache
def _imported(module: str) -> frozenset[str]:
    """Full names of everything that a module imports, anywhere in its file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(_modules()[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _imports(module: str) -> set[str]:
    """Modules of genremill that a module imports."""
    return {name.removeprefix("genremill.") for name in _imported(module)} & _modules().keys()


def _is_package(module: str) -> bool:
    return _modules()[module].name == "__init__.py"


def _room(module: str) -> str:
    """The room of a module of `jobs`; commands share one."""
    name = ".".join(module.split(".")[:2])
    named = {room for line in JOB_ROOMS for room in line}
    assert name in named or not _is_package(name), f"{name} is missing in JOB_ROOMS"
    return name if name in named else COMMANDS


@pytest.mark.parametrize("module", sorted(_modules()))
def test_imports_go_down_the_floors(module: str) -> None:
    own = FLOORS.index(module.split(".")[0])
    upward = [name for name in _imports(module) if FLOORS.index(name.split(".")[0]) < own]
    assert upward == []


@pytest.mark.parametrize("module", sorted(name for name in _modules() if name.startswith("jobs.")))
def test_imports_go_down_the_rooms_of_jobs(module: str) -> None:
    order = {room: rank for rank, line in enumerate(JOB_ROOMS) for room in line}
    own = _room(module)
    others = [name for name in _imports(module) if name.startswith("jobs.") and name != module]
    wrong = [
        name
        for name in others
        if order[_room(name)] < order[own]
        or (order[_room(name)] == order[own] and (_room(name) != own or own == COMMANDS))
    ]
    assert wrong == []


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: _imports(name) - {name} for name in _modules() if not _is_package(name)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_top_of_jobs_holds_commands_and_what_all_jobs_share() -> None:
    assert len(list((ROOT / "jobs").glob("*.py"))) <= MOST_FILES_AT_THE_TOP_OF_JOBS


def test_models_import_no_spark() -> None:
    models = [name for name in _modules() if name.startswith("models.")]
    assert [name for name in models if any(one.startswith("pyspark") for one in _imported(name))] == []


def test_no_folder_of_jobs_is_named_like_a_job() -> None:
    folders = {path.name for path in (ROOT / "jobs").iterdir() if path.is_dir()}
    assert not folders & {path.stem for path in (ROOT / "jobs").glob("*.py")}


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    leaves = {name.split(".")[-1] for name in _modules()} | {name.split(".")[0] for name in _modules()}
    assert not leaves & sys.stdlib_module_names


def test_only_one_module_makes_readers_of_spark() -> None:
    """Other readers would take `?` or `[` in the path of a table for a pattern."""
    readers = re.compile(r"\b(spark|sparkSession)\.read\b(?!\()")
    found = {name for name, path in _modules().items() if readers.search(path.read_text())}
    assert found == {"infra.readers"}
