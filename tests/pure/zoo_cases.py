"""Small inputs for every model of the zoo, with one categorical feature and some padding."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from genremill.models import zoo
from genremill.models.encoders.base import Samples, joined_rows
from genremill.models.encoders.table import codes_in, with_missing_marked
from genremill.models.features import TABLE, FeatureSpec, InputKind
from genremill.models.model_card import ModelCard
from genremill.models.networks.base import Network
from genremill.models.recipe import Size

NUMBERS = 40
SHAPES: dict[str, tuple[int, ...]] = {
    TABLE: (NUMBERS,),
    "sound": (8,),
    "segments": (16, 24),
    "logmel": (1, 16, 16),
}
INPUTS = {
    InputKind.VECTOR: (TABLE,),
    InputKind.SEQUENCE: ("segments",),
    InputKind.IMAGE: ("logmel",),
    InputKind.SEVERAL: (TABLE, "segments"),
}
FEATURES = (
    *(FeatureSpec(f"number {at}", False) for at in range(NUMBERS)),
    FeatureSpec("key", True),
    *(FeatureSpec(f"sound {at}", False, input="sound") for at in range(8)),
)
PARTS = ("mlp4", "timbre_cnn")


def case(
    model: str, rows: int, classes: int, seed: int = 0, missing: float = 0.0
) -> tuple[ModelCard, Samples]:
    """A card of the model and random rows of its inputs; a share of the table's values is `missing`."""
    rng = np.random.default_rng(seed)
    entry = zoo.entry(model)
    names = INPUTS[entry.input_kind] if not entry.is_partial else (TABLE, "sound")
    samples = {name: _array(rng, rows, SHAPES[name]) for name in names}
    if TABLE in names:
        samples[TABLE] = np.column_stack([samples[TABLE], rng.integers(12, size=rows)]).astype(np.float32)
        samples[TABLE][rng.random(samples[TABLE].shape) < missing] = np.nan
    features = tuple(one for one in FEATURES if one.input in names)
    vectors = joined_rows(samples, tuple(dict.fromkeys(one.input for one in features)))
    card = ModelCard(
        model=model,
        classes=tuple("abcdefgh"[:classes]),
        features=with_missing_marked(vectors, features),
        size=_small(entry.size(rows)),
        categories=len(codes_in(vectors, features)),
        labels="genre",
        use_popularity=False,
        clusters={},
        genre_map={},
        inputs=names,
        shapes={name: SHAPES[name] for name in names if len(SHAPES[name]) > 1},
        parts=PARTS if model == zoo.HYBRID else (),
    )
    return card, samples


def network(card: ModelCard, samples: Samples) -> Network:
    """The network of a card, with a fitted encoder and untrained layers."""
    torch.manual_seed(0)
    encoder = zoo.encoder(card)
    encoder.learn(samples)
    return zoo.entry(card.model).build(encoder, len(card.classes), card.size)


def _small(size: Size) -> Size:
    """A size that trains fast, without dropout."""
    return replace(size, width=min(size.width, 64), dropout=0.0)


def tensors(samples: Samples) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in samples.items()}


def _array(rng: np.random.Generator, rows: int, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.normal(3, 2, size=(rows, *shape)).astype(np.float32)
    if len(shape) == 2:
        x[::5, shape[0] // 2 :] = 0  # padding
    return x.reshape(rows, -1)


def card_of(name: str, shape: tuple[int, ...], classes: int) -> ModelCard:
    """The card of an untrained model with one numeric input of the given shape."""
    vector = len(shape) == 1
    return ModelCard(
        model=name,
        classes=tuple(str(number) for number in range(classes)),
        features=tuple(FeatureSpec(str(n), False, input="input") for n in range(shape[0] if vector else 0)),
        size=zoo.entry(name).size(0),
        categories=0,
        labels="genre",
        use_popularity=False,
        clusters={},
        genre_map={},
        inputs=("input",),
        shapes={} if vector else {"input": shape},
    )


def parameter_count(network: Network) -> int:
    """Parameters as Keras counts them: trained weights and the running statistics of batch normalization."""
    trained = sum(weight.numel() for weight in network.parameters())
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    return trained + sum(2 * layer.num_features for layer in norms)
