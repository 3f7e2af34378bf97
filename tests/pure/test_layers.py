"""The architecture's one rule: imports go jobs → udfs → models → infra, never back."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ORDER = ("jobs", "udfs", "models", "infra")
PACKAGE_ROOT = ROOT / "infra" / "package"
SOURCES = [
    path
    for folder in ORDER
    for path in sorted((ROOT / folder).rglob("*.py"))
    if PACKAGE_ROOT not in path.parents  # mapped as the root of the package: it may import every floor
]


def _imported(path: Path) -> list[str]:
    names: list[str] = []
    for one in ast.walk(ast.parse(path.read_text())):
        if isinstance(one, ast.Import):
            names += [alias.name for alias in one.names]
        elif isinstance(one, ast.ImportFrom):
            names.append(one.module or "")
            names += [f"{one.module}.{alias.name}" for alias in one.names]
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_to_the_right_only(path: Path) -> None:
    own = ORDER.index(path.relative_to(ROOT).parts[0])
    folders = {name.split(".")[1] for name in _imported(path) if name.startswith("genremill.")}
    assert all(ORDER.index(folder) >= own for folder in folders), f"{path} imports {folders}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.relative_to(ROOT).parts[0] == "models"], ids=lambda path: str(path.name)
)
def test_models_know_no_spark_frames(path: Path) -> None:
    assert not any(name.startswith("pyspark") for name in _imported(path))


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    import sys

    assert not [path for path in SOURCES if path.stem in sys.stdlib_module_names]
