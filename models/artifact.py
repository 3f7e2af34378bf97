"""A model version on disk: `model.safetensors` and `model.json`, all that scoring needs."""

import dataclasses
import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.models import zoo
from genremill.models.model_card import ModelCard, read_card
from genremill.models.networks.base import Network
from genremill.models.outliers import TrainingCloud
from genremill.models.weights import read_weights, write_weights

CLOUDS = "clouds."
"""What the names of the training clouds' tensors begin with; the network's are beside them."""


@dataclass(frozen=True, eq=False)
class Model:
    """A model version ready to predict; `clouds` are by input, none where it knows no outliers."""

    card: ModelCard
    network: Network
    clouds: nn.ModuleDict

    @property
    def partial(self) -> bool:
        """Whether it takes tracks that lack some of its inputs."""
        return zoo.entry(self.card.model).is_partial


def build(card: ModelCard) -> Network:
    """The network that a card describes, its weights still to be loaded."""
    entry = zoo.entry(card.model)
    return entry.build(zoo.encoder(card), len(card.classes), card.size)


def fitted(network: Network) -> dict[str, Tensor]:
    """The tensors of a network that its encoders have learned, before any training."""
    return {name: value for name, value in network.state_dict().items() if "encoder" in name.split(".")}


def save(
    folder: str, card: ModelCard, tensors: dict[str, Tensor], clouds: nn.ModuleDict | None = None
) -> ModelCard:
    """Writes a model version: its card comes last, and until then there is no such version."""
    if clouds is not None:
        tensors = tensors | {f"{CLOUDS}{name}": value for name, value in clouds.state_dict().items()}
    sealed = dataclasses.replace(card, sha256=write_weights(f"{folder}/model.safetensors", tensors))
    storage.write_atomic(f"{folder}/model.json", sealed.to_json())
    return sealed


@functools.lru_cache(maxsize=2)
def load(folder: str) -> Model:
    """A model version ready to predict; cached, so that a Python worker loads it once.

    Raises `UsageError` where weights and card do not fit together or a weight is not finite.
    """
    card = read_card(folder)
    tensors = read_weights(f"{folder}/model.safetensors", card.sha256)
    network = build(card)
    clouds = nn.ModuleDict(
        {
            name: TrainingCloud(tuple(one for one in card.features if one.input == name))
            for name in card.outlier_limits
        }
    )
    states = network.state_dict() | {f"{CLOUDS}{name}": one for name, one in clouds.state_dict().items()}
    expected = {name: tuple(tensor.shape) for name, tensor in states.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        wrong = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        shown = "; ".join(
            f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in wrong[:5]
        )
        raise UsageError(f"{folder}: the weights do not fit {card.model}: {shown}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UsageError(f"{folder}: weight {name} is not finite")
        if tensor.dtype != states[name].dtype:
            raise UsageError(f"{folder}: weight {name} is {tensor.dtype}; expected {states[name].dtype}")
    of_clouds = {name: tensor for name, tensor in tensors.items() if name.startswith(CLOUDS)}
    clouds.load_state_dict({name.removeprefix(CLOUDS): tensor for name, tensor in of_clouds.items()})
    network.load_state_dict({name: tensors[name] for name in tensors.keys() - of_clouds.keys()})
    return Model(card, network.eval(), clouds)
