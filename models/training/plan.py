"""What is trained on what, and the name by which an interrupted training is found again."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from genremill.models.model_card import ModelCard
from genremill.models.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """All that a rank needs to train; picklable."""

    card: ModelCard
    recipe: Recipe
    seed: int
    workers: int
    threads: int
    train: str
    """Folder of the training shards."""
    validation: str | None
    """Folder of the validation shards; None where there are no validation rows."""
    initial: str
    """Folder with the fitted encoder's tensors in `encoder.safetensors`."""
    initial_sha256: str
    checkpoints: str
    run_id: str
    resume: bool = True


def digest(card: ModelCard, recipe: Recipe, seed: int, workers: int, threads: int, data: list[str]) -> str:
    """Names a training by configuration, shards and code: equal digests end with equal weights."""
    settings = {
        "card": card.to_json().decode(),
        "recipe": dataclasses.asdict(recipe),
        "run": [seed, workers, threads],
        "data": data,
        "code": code_digest(),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:20]


def code_digest() -> str:
    """Names the code that trains, and the torch it trains with."""
    whole = hashlib.sha256(torch.__version__.encode())
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:20]
