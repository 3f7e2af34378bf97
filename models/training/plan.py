"""The plan of a training, and the digest by which an interrupted training is found again."""

import ast
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from genremill.models.model_card import ModelCard
from genremill.models.recipe import Recipe

PACKAGE = "genremill.models"


@dataclass(frozen=True)
class Plan:
    """All that a rank needs to train; it can be written as JSON and pickled."""

    card: ModelCard
    recipe: Recipe
    seed: int
    workers: int
    threads: int
    train: str
    """Folder of the training shards."""
    validation: str | None
    """Folder of the validation shards; None if there are no validation rows."""
    initial: str
    """Folder with the tensors of the fitted encoder in `encoder.safetensors`."""
    initial_sha256: str
    checkpoints: str
    run_id: str
    resume: bool = True


def digest(card: ModelCard, recipe: Recipe, seed: int, workers: int, threads: int, data: list[str]) -> str:
    """A digest of configuration, shards and code: trainings with equal digests end with equal weights."""
    settings = {
        "card": card.to_json().decode(),
        "recipe": dataclasses.asdict(recipe),
        "run": [seed, workers, threads],
        "data": data,
        "code": code_digest(),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:20]


def code_digest() -> str:
    """A digest of the code that trains and of the version of torch."""
    code = hashlib.sha256(torch.__version__.encode())
    for path in training_code(Path(__file__).parent.parent):
        code.update(path.read_bytes())
    return code.hexdigest()[:20]


def training_code(root: Path) -> list[Path]:
    """The files under `root`, the folder of `genremill.models`, that the training loop imports, sorted.

    Imports are followed from file to file, also inside functions. Imports from other packages are not
    followed, because they do not change the weights.
    """
    files: set[Path] = set()
    modules = [f"{PACKAGE}.training.loop"]
    while modules:
        module = modules.pop()
        path = root.joinpath(*module.split(".")[2:])
        for file in {path.with_suffix(".py"), path / "__init__.py"} - files:
            if file.is_file():
                files.add(file)
                modules += _imported(file)
        if module != PACKAGE:
            modules.append(module.rpartition(".")[0])
    return sorted(files)


def _imported(file: Path) -> Iterator[str]:
    """What a file imports from this package: modules, and names that may be modules."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        yield from (name for name in names if name.startswith(f"{PACKAGE}."))
