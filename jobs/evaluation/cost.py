"""What a model version costs: the time of its training, and the speed and size of its network."""

import time
from dataclasses import dataclass

import torch

from genremill.jobs.contracts import Split
from genremill.models import artifact
from genremill.models.encoders.base import Inputs
from genremill.models.encoders.text_tokens import TEXT_WIDTH
from genremill.models.features import TEXT
from genremill.models.model_card import ModelCard

BATCH = 1024
LEAST_SECONDS = 0.5
"""How long a network predicts at least, so that its speed can be measured."""
MILLION = 1_000_000


@dataclass(frozen=True)
class Cost:
    """What a model version costs: seconds of training, and seconds of its network for a million tracks."""

    train_seconds: float
    score_seconds: float
    """On one thread, without reading the inputs and writing the tags."""
    megabytes: float


def cost_of(folder: str, card: ModelCard) -> Cost:
    """What the training of a version took, and what its network takes on one thread of this machine."""
    model = artifact.load(folder)
    history = card.training.history
    pairs = card.training.rows[Split.TRAIN]
    windows = history[0].rows / pairs if history else 1.0
    inputs = _blank(card)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model.network.probabilities(inputs)  # the first call allocates memory
        rows, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < LEAST_SECONDS or not rows:
            model.network.probabilities(inputs)
            rows += BATCH
    finally:
        torch.set_num_threads(threads)
    size = sum(value.numel() * value.element_size() for value in model.network.state_dict().values())
    return Cost(
        sum(epoch.seconds for epoch in history) * card.training.settings["workers"],
        seconds / rows * windows * MILLION,
        size / MILLION,
    )


def _blank(card: ModelCard) -> Inputs:
    """A batch of constant inputs: a network takes as long for them as for others."""
    return {
        name: torch.ones(BATCH, TEXT_WIDTH, dtype=torch.int32)
        if name == TEXT
        else torch.ones(BATCH, card.width(name))
        for name in card.inputs
    }
