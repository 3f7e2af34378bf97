"""For every model of the zoo, inputs that it takes: small, one code among the numbers, some padding."""

from dataclasses import replace

import numpy as np
import torch

from genremill.models import zoo
from genremill.models.encoder import Samples, joined_rows
from genremill.models.features import TABLE, FeatureSpec, Takes
from genremill.models.model_card import ModelCard
from genremill.models.networks import Network
from genremill.models.recipe import Size
from genremill.models.table_encoder import codes_in

NUMBERS = 40
FEATURES = (*(FeatureSpec(f"number {at}", False) for at in range(NUMBERS)), FeatureSpec("key", True))
SHAPES: dict[Takes, dict[str, tuple[int, ...]]] = {
    Takes.SEQUENCE: {"segments": (16, 24)},
    Takes.IMAGE: {"logmel": (1, 16, 16)},
}
EMBEDDING, EMBEDDED = "musicnn", 6
PARTS = ("mlp4", "timbre_cnn")


def case(model: str, rows: int, classes: int, seed: int = 0) -> tuple[ModelCard, Samples]:
    """A card of the model and random rows of its inputs."""
    rng = np.random.default_rng(seed)
    takes = zoo.entry(model).takes
    shapes = SHAPES[Takes.SEQUENCE] if takes is Takes.SEVERAL else SHAPES.get(takes, {})
    samples = {name: _array(rng, rows, shape) for name, shape in shapes.items()}
    if takes in (Takes.VECTOR, Takes.SEVERAL, Takes.ANY):
        codes = rng.integers(12, size=rows)
        samples = {
            TABLE: np.column_stack([rng.normal(size=(rows, NUMBERS)), codes]).astype(np.float32)
        } | samples
    features = FEATURES if TABLE in samples else ()
    if takes is Takes.ANY:
        samples |= {EMBEDDING: rng.normal(size=(rows, EMBEDDED)).astype(np.float32)}
        features += tuple(FeatureSpec(f"e{at}", False, input=EMBEDDING) for at in range(EMBEDDED))
    vectors = joined_rows(samples, tuple(dict.fromkeys(one.input for one in features)))
    card = ModelCard(
        model=model,
        classes=tuple("abcdefgh"[:classes]),
        features=features,
        size=_small(zoo.entry(model).size(rows)),
        categories=len(codes_in(vectors, features)),
        labels="genre",
        use_popularity=False,
        clusters={},
        genre_map={},
        inputs=tuple(samples),
        shapes=shapes,
        parts=PARTS if model == zoo.HYBRID else (),
    )
    return card, samples


def network(card: ModelCard, samples: Samples) -> Network:
    """The model that a card describes, its encoder fitted, its layers as they start."""
    torch.manual_seed(0)
    encoder = zoo.encoder(card)
    encoder.learn(samples)
    return zoo.entry(card.model).build(encoder, len(card.classes), card.size)


def _small(size: Size) -> Size:
    """A size that trains in no time, and forgets nothing on purpose."""
    return replace(size, width=min(size.width, 64), dropout=0.0)


def tensors(samples: Samples) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in samples.items()}


def _array(rng: np.random.Generator, rows: int, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.normal(3, 2, size=(rows, *shape)).astype(np.float32)
    if len(shape) == 2:
        x[::5, shape[0] // 2 :] = 0  # padding
    return x.reshape(rows, -1)
