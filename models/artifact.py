"""A model version on disk: `model.json`, and `model.safetensors` with its sha256. No pickle is ever read."""

import dataclasses
import functools
import hashlib
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.models import zoo
from genremill.models.model_card import ModelCard, read_card, refuse_removed_inputs
from genremill.models.networks.base import Network
from genremill.models.outliers import TrainingDistribution

DISTRIBUTIONS = "clouds."
"""Prefix of the tensors of the training distributions, which are stored beside those of the network."""
ENCODERS = {"encoder", "encoders"}
"""Names of the modules of a network that are fitted before training."""
MOST_HEADER = 1 << 24
"""Limit on the bytes of a weights file that are not values of tensors."""


class DamagedWeights(UsageError):
    """A weights file is missing, or has another sha256 or format than expected."""


def write_weights(uri: str, tensors: dict[str, Tensor]) -> str:
    """Writes tensors in one atomic step and returns the sha256 of the file."""
    data = safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    )
    storage.write_atomic(uri, data)
    return hashlib.sha256(data).hexdigest()


def read_weights(uri: str, sha256: str) -> dict[str, Tensor]:
    """Reads tensors. Raises `DamagedWeights`, before parsing, if the file has another sha256."""
    data = storage.read_bytes(uri)
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise DamagedWeights(
            f"{uri}: expected sha256 {sha256[:12]}…, found {found[:12]}… ({len(data):,} bytes)"
        )
    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as err:
        raise DamagedWeights(f"{uri} is not a safetensors file: {err}") from err


@dataclass(frozen=True, eq=False)
class Model:
    """A model version that is ready to predict.

    `distributions` holds the training distribution of each input; it is empty if the model has none.
    """

    card: ModelCard
    network: Network
    distributions: nn.ModuleDict

    @property
    def partial(self) -> bool:
        """Whether the model accepts tracks that lack some of its inputs."""
        return zoo.entry(self.card.model).is_partial


def build(card: ModelCard) -> Network:
    """The network that a card describes, before its weights are loaded."""
    entry = zoo.entry(card.model)
    return entry.build(zoo.encoder(card), len(card.classes), card.size)


def fitted(network: Network) -> dict[str, Tensor]:
    """The tensors of the encoders of a network, which are fitted before training."""
    return {name: value for name, value in network.state_dict().items() if ENCODERS & {*name.split(".")}}


def save(
    folder: str, card: ModelCard, tensors: dict[str, Tensor], distributions: nn.ModuleDict | None = None
) -> ModelCard:
    """Writes a model version. The card is written last: without it, the version does not exist."""
    if distributions is not None:
        tensors = tensors | _prefixed(distributions)
    sealed = dataclasses.replace(card, sha256=write_weights(f"{folder}/model.safetensors", tensors))
    storage.write_atomic(f"{folder}/model.json", sealed.to_json())
    return sealed


@functools.lru_cache(maxsize=2)
def load(folder: str) -> Model:
    """A model version that is ready to predict; cached, so that a Python worker loads it once.

    Raises `UsageError` if this version cannot use the model, and if the weights do not match the card or are
    not finite.
    """
    card = read_card(folder)
    refuse_removed_inputs(card, folder)
    described = _described(card, f"{folder}/model.json")
    _check_length(f"{folder}/model.safetensors", card, described)
    tensors = read_weights(f"{folder}/model.safetensors", card.sha256)
    _check(folder, card.model, described, tensors)
    network, distributions = build(card), _distributions(card)
    network.load_state_dict({name: tensors[name] for name in network.state_dict()})
    distributions.load_state_dict(
        {name: tensors[DISTRIBUTIONS + name] for name in distributions.state_dict()}
    )
    return Model(card, network.eval(), distributions)


def _distributions(card: ModelCard) -> nn.ModuleDict:
    """The training distributions that a card describes, before their tensors are loaded."""
    features = {name: tuple(of for of in card.features if of.input == name) for name in card.outlier_limits}
    return nn.ModuleDict({name: TrainingDistribution(own) for name, own in features.items()})


def _described(card: ModelCard, path: str) -> dict[str, Tensor]:
    """The names, shapes and types of the tensors that a card describes; their values take no memory.

    Networks are built by `normal` and operations in place: on this device `torch.randn` and others
    import the compiler of PyTorch or sympy, which takes one to three seconds.
    """
    if not card.sha256:
        raise UsageError(
            f"{path} is not a valid ModelCard record: expected sha256 with 64 digits, found none"
        )
    try:
        with torch.device("meta"):
            return build(card).state_dict() | _prefixed(_distributions(card))
    except (UsageError, ArithmeticError, KeyError, RuntimeError, ValueError) as err:
        raise UsageError(f"{path} is not a valid ModelCard record: {err}") from err


def _check_length(uri: str, card: ModelCard, described: dict[str, Tensor]) -> None:
    """Raises unless a weights file can hold the tensors that a card describes, and not much more."""
    least = sum(tensor.nbytes for tensor in described.values())
    found = storage.inventory(uri).size_bytes
    if not least <= found <= least + MOST_HEADER:
        sizes = f"{len(card.classes)} classes, {len(card.features)} features, {card.size}"
        raise DamagedWeights(
            f"{uri} is not a safetensors file of {card.model}: found {found:,} bytes; expected "
            f"{least:,} bytes and a header for the sizes in model.json ({sizes}, categories "
            f"{card.categories}, tokens {sum(card.tokens.values())}, shapes {card.shapes})"
        )


def _prefixed(distributions: nn.ModuleDict) -> dict[str, Tensor]:
    return {f"{DISTRIBUTIONS}{name}": value for name, value in distributions.state_dict().items()}


def _check(folder: str, model: str, expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Raises unless the tensors have the expected names, shapes and types, and finite values."""
    shapes = [{name: tuple(tensor.shape) for name, tensor in named.items()} for named in (expected, tensors)]
    names = sorted(shapes[0].keys() | shapes[1].keys())
    if wrong := [name for name in names if shapes[0].get(name) != shapes[1].get(name)]:
        shown = [f"{name}: expected {shapes[0].get(name)}, found {shapes[1].get(name)}" for name in wrong[:5]]
        raise UsageError(f"{folder}: the weights do not fit {model}: {'; '.join(shown)}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UsageError(f"{folder}: weight {name} is not finite")
        if tensor.dtype != expected[name].dtype:
            raise UsageError(f"{folder}: weight {name} is {tensor.dtype}; expected {expected[name].dtype}")
