"""The model `fusion`: missing inputs, the prediction of each network, and the inputs of a tag."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from genremill.models import artifact, zoo
from genremill.models.artifact import Model
from genremill.models.encoders.text_tokens import KNOWN, tokens
from genremill.models.features import EVIDENCE, FOLD, FOLDS, TABLE, TEXT, WEIGHT, WINDOWS, FeatureSpec
from genremill.models.model_card import ModelCard
from genremill.models.networks.base import Network
from genremill.models.networks.fusion import JOINT, Fusion, counts_of
from genremill.models.networks.text import EVIDENCE_SCALE, PRIOR_COUNT, TokenCounts
from genremill.models.recipe import Size
from genremill.udfs.model_rows import model_rows
from genremill.udfs.style_mix import Styles
from genremill.udfs.tagging import Predicted, probabilities, tags_of

NUMBERS, SET = 5, 3
NAMES = ("blue train", "sertanejo ao vivo", "夜に駆ける")
HASHES = np.unique(np.concatenate([tokens([name], 0)[0] for name in NAMES]).view(np.int64))
TOKENS = np.array([(one, 2.0) for one in HASHES], KNOWN)
COUNTS, TAGS = counts_of(TEXT), "tags:lastfm"
FEATURES = (
    *(FeatureSpec(f"number {at}", False) for at in range(NUMBERS)),
    *(FeatureSpec(f"e{at}", False, input="musicnn") for at in range(SET)),
)
CARD = ModelCard(
    model="fusion",
    classes=("a", "b", "c", "d"),
    features=FEATURES,
    size=Size(width=16, members=2, joint=True),
    categories=0,
    labels="genre",
    use_popularity=False,
    clusters={},
    genre_map={},
    inputs=(TABLE, TEXT, "musicnn"),
    tokens={TEXT: len(TOKENS)},
)
WITH_TAGS = replace(CARD, inputs=(*CARD.inputs, TAGS), tokens=dict.fromkeys((TEXT, TAGS), len(TOKENS)))


@pytest.fixture
def network() -> Fusion:
    """A network of which only the encoders are fitted."""
    return _fitted(CARD)


def _fitted(card: ModelCard) -> Fusion:
    torch.manual_seed(0)
    encoder = zoo.encoder(card)
    rng = np.random.default_rng(0)
    table, embedding = rng.normal(size=(50, NUMBERS)), rng.normal(size=(50, SET))
    table[::7], embedding[::5] = np.nan, np.nan  # these rows lack the input
    vectors = {TABLE: table.astype(np.float32), "musicnn": embedding.astype(np.float32)}
    encoder.learn(vectors | dict.fromkeys(card.tokens, TOKENS))
    made = zoo.entry(card.model).build(encoder, 4, card.size)
    assert isinstance(made, Fusion)
    return made.eval()


def _inputs(rows: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    number = torch.zeros(rows, 3 * 128, dtype=torch.int32)
    number[:, :20] = torch.randint(1, len(TOKENS), (rows, 20), generator=generator, dtype=torch.int32)
    return {
        TABLE: torch.randn(rows, NUMBERS, generator=generator),
        TEXT: number,
        "musicnn": torch.randn(rows, SET, generator=generator),
    }


def _without(inputs: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    lacking = {
        name: torch.zeros_like(inputs[name]) if name in (TEXT, TAGS) else inputs[name] * math.nan
        for name in names
    }
    return inputs | lacking


def test_encoders_are_fitted_on_the_rows_that_have_their_input(network: Fusion) -> None:
    for name, value in artifact.fitted(network).items():
        assert torch.isfinite(value.float()).all(), name


@pytest.mark.parametrize("name", [TABLE, TEXT, "musicnn"])
def test_a_row_with_one_input_gets_the_prediction_of_its_network(network: Fusion, name: str) -> None:
    inputs = _inputs()
    alone = _without(inputs, *(inputs.keys() - {name}))
    torch.testing.assert_close(network.probabilities(alone), network.alone(inputs)[name])


def test_the_prediction_is_a_weighted_product_relative_to_the_class_shares(network: Fusion) -> None:
    assert list(network.networks) == [TABLE, TEXT, COUNTS, "musicnn", JOINT]
    belief = torch.linspace(-0.5, 0.7, 25).reshape(5, 5)
    network.belief_II.copy_(belief)
    network.log_share_C.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]).log())
    inputs = _without(_inputs(), "musicnn")
    names, places = [TABLE, TEXT, COUNTS, JOINT], [0, 1, 2, 4]
    p = {name: _said_by(network, name, inputs) for name in names}
    share = torch.tensor([0.4, 0.3, 0.2, 0.1])
    product = share.expand(6, 4)
    for name, weight in zip(names, belief[places][:, places].sum(dim=1).exp(), strict=True):
        product = product * (p[name] / share) ** weight
    found = network.probabilities(inputs)
    torch.testing.assert_close(found, product / product.sum(dim=1, keepdim=True))


def _said_by(network: Fusion, name: str, inputs: dict[str, Tensor]) -> Tensor:
    part, tally = network.networks[name], network.networks[COUNTS]
    assert isinstance(part, Network)
    assert isinstance(tally, TokenCounts)
    return part.probabilities(inputs | {EVIDENCE + TEXT: tally.evidence(inputs)})


@pytest.mark.parametrize(
    ("has", "is_used"),
    [
        ((TABLE, TEXT), True),
        (("musicnn", TEXT), True),
        ((TABLE, TAGS), True),
        ((TABLE, TEXT, TAGS, "musicnn"), True),
        ((TEXT, TAGS), False),
        ((TABLE, "musicnn"), False),
    ],
)
def test_the_joint_network_is_used_for_tracks_with_text_and_another_input(
    has: tuple[str, ...], *, is_used: bool
) -> None:
    network, inputs = _fitted(WITH_TAGS), _inputs()
    tags = torch.zeros(6, 128, dtype=torch.int32)
    tags[:, 3] = 2
    inputs = _without(inputs | {TAGS: tags}, *({*WITH_TAGS.inputs} - {*has}))
    before = network.probabilities(inputs)
    for weight in network.networks[JOINT].parameters():
        weight.data.zero_()
    assert torch.allclose(before, network.probabilities(inputs)) is not is_used


def test_token_counts_predict_the_classes_of_the_tokens() -> None:
    """Token 1 is only in class 0, token 2 equally in both classes, so it has no effect."""
    tally = TokenCounts(3, 2)
    number = torch.zeros(80, 3 * 128, dtype=torch.int32)
    label = torch.arange(80) % 2
    number[label == 0, 0] = 1
    number[:, 200] = 2
    tally.fit_train([({TEXT: number[:30]}, label[:30]), ({TEXT: number[30:]}, label[30:])])
    asked = torch.zeros(4, 3 * 128, dtype=torch.int32)
    asked[0, 5], asked[1, 5], asked[2, 5], asked[2, 6] = 1, 2, 1, 1
    p = tally.eval().probabilities({TEXT: asked})
    odds = math.log((40 + PRIOR_COUNT / 2) / (40 + PRIOR_COUNT) * 2)
    against = math.log(PRIOR_COUNT / 2 / (40 + PRIOR_COUNT) * 2)
    one = torch.tensor([odds, against])
    torch.testing.assert_close(p[0], (EVIDENCE_SCALE * one).softmax(dim=0), atol=1e-3, rtol=0)
    torch.testing.assert_close(p[1], torch.tensor([0.5, 0.5]), atol=1e-3, rtol=0)
    torch.testing.assert_close(p[2], (EVIDENCE_SCALE * math.sqrt(2) * one).softmax(dim=0), atol=1e-3, rtol=0)
    torch.testing.assert_close(p[3], torch.tensor([0.5, 0.5]))


def test_an_artist_counts_as_the_square_root_of_its_rows() -> None:
    """Token 1 has 16 rows of an artist in class 0, and a row each of four artists in class 1."""
    tally = TokenCounts(2, 2)
    number = torch.zeros(40, 3 * 128, dtype=torch.int32)
    number[:20, 0] = 1
    label = torch.tensor([0] * 16 + [1] * 4 + [0] * 10 + [1] * 10)
    rows = torch.tensor([16.0] * 16 + [1.0] * 24)
    tally.fit_train([({TEXT: number, WEIGHT: 1 / rows[:, None]}, label)])
    p = tally.eval().probabilities({TEXT: number[:1]})
    torch.testing.assert_close(p, torch.tensor([[0.5, 0.5]]))


def test_evidence_for_a_train_row_comes_from_other_folds() -> None:
    """Token 1 is used by an artist in fold 0, token 2 by artists in all folds."""
    tally = TokenCounts(3, 2, FOLDS)
    number = torch.zeros(100, 3 * 128, dtype=torch.int32)
    fold, label = torch.arange(100)[:, None] % FOLDS, torch.arange(100) // 50
    number[(fold[:, 0] == 0) & (label == 0), 0] = 1
    number[label == 0, 200] = 2
    tally.fit_train([({TEXT: number, FOLD: fold.float()}, label)])
    asked = torch.zeros(4, 3 * 128, dtype=torch.int32)
    asked[:2, 0], asked[2:, 200] = 1, 2
    inputs = {TEXT: asked, FOLD: torch.tensor([[0.0], [1.0], [0.0], [1.0]])}
    scored, trained = tally.eval().evidence(inputs), tally.train().evidence(inputs)
    torch.testing.assert_close(trained[0], torch.zeros(2))
    torch.testing.assert_close(trained[1], scored[1])
    assert (trained[2:, 0] > 0).all()
    torch.testing.assert_close(trained[2], trained[3])


def test_a_row_without_inputs_gets_the_class_shares(network: Fusion) -> None:
    inputs = _inputs()
    found = network.probabilities(_without(inputs, *inputs))
    torch.testing.assert_close(found, torch.full((6, 4), 0.25))


def test_the_weight_of_each_input_is_fitted_on_held_out_rows(network: Fusion) -> None:
    """The network of the table knows the labels; that of names is confident, and wrong half of the time."""
    generator = torch.Generator().manual_seed(2)
    label = torch.randint(4, (2000,), generator=generator)
    noise = torch.randint(4, (2000,), generator=generator)
    inputs = _inputs(2000)
    said = torch.stack(
        [
            (2.0 * torch.eye(4)[torch.where(torch.rand(2000, generator=generator) < 0.8, label, noise)]),
            (9.0 * torch.eye(4)[noise]),
            *(torch.zeros(2000, 4) for _ in range(3)),
        ]
    ).log_softmax(dim=-1)
    has = torch.ones(5, 2000, dtype=torch.bool)
    network._log_probabilities = lambda _: (said, has)  # type: ignore[method-assign,assignment]
    network._of_joint = lambda *_: said[4]  # type: ignore[method-assign]
    before = network.probabilities(inputs).gather(1, label[:, None]).log().mean()
    network.fit_held_out([(inputs, label)])
    after = network.probabilities(inputs).gather(1, label[:, None]).log().mean()
    assert after > before + 0.3
    assert (network.probabilities(inputs).argmax(dim=1) == label).float().mean() > 0.8
    others = network.belief_II.sum(dim=1) - network.belief_II.diagonal()
    assert network.belief_II[1, 1] + others[1] < network.belief_II[0, 0] + others[0] - 1


def test_held_out_rows_are_weighted(network: Fusion) -> None:
    inputs, label = _inputs(600), torch.arange(600) % 4
    network.fit_held_out([({name: x[:300] for name, x in inputs.items()}, label[:300])])
    first = network.belief_II.clone()
    weight = torch.cat([torch.ones(300, 1), torch.full((300, 1), 1e-9)])
    network.fit_held_out([(inputs | {WEIGHT: weight}, label)])
    torch.testing.assert_close(network.belief_II, first, atol=1e-2, rtol=0)
    network.fit_held_out([(inputs, label)])
    assert not torch.allclose(network.belief_II, first, atol=1e-2)


def test_a_missing_input_of_a_row_does_not_change_other_rows(network: Fusion) -> None:
    inputs = _inputs()
    some = {name: torch.cat([x[:3], _without(inputs, name)[name][3:]]) for name, x in inputs.items()}
    torch.testing.assert_close(network(some)[:, :3], network(inputs)[:, :3])


def test_each_network_is_trained_separately(network: Fusion) -> None:
    logits = network.train()(_inputs())
    assert logits.shape == (2 + 1 + 1 + 2, 6, 4)  # heads of table, names, musicnn, joint
    label = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.autograd.backward(network.loss(logits, label, 0.1))
    assert all(weight.grad is not None for weight in network.parameters())


def test_the_joint_network_is_trained_on_the_evidence_of_each_text() -> None:
    network, label = _fitted(WITH_TAGS), torch.arange(60) % 4
    inputs = _inputs(60) | {FOLD: torch.arange(60)[:, None] % FOLDS}
    inputs |= {TAGS: (label[:, None] + 1).int() * torch.eye(128, dtype=torch.int32)[:1]}
    network.fit_train([(inputs, label)])
    logits = network.train()(inputs)
    torch.autograd.backward(network.loss(logits, label, 0.1))
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_missing_inputs_give_no_gradients(network: Fusion) -> None:
    label = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = network.loss(network.train()(_without(_inputs(), TABLE, TEXT)), label, 0.0)
    torch.autograd.backward(loss)
    for name, weight in network.named_parameters():
        lacking = name.startswith((f"networks.{TABLE}", f"networks.{TEXT}", f"networks.{JOINT}"))
        assert weight.grad is not None
        assert bool(weight.grad.any()) is not lacking, name


def _model(network: Fusion) -> Model:
    return Model(replace(CARD, clusters={}), network, nn.ModuleDict())


def _tags(model: Model) -> dict[str, pa.Array]:
    predicted = Predicted.of(_batch(), model, tuple(range(NUMBERS)))
    return tags_of(predicted, model.card, Styles.of(CARD))


def _batch() -> pa.RecordBatch:
    """Tracks with all inputs, without numbers, without a readable name, without audio, without any input."""
    numbers, windows = pa.list_(pa.float32()), pa.list_(pa.struct([("musicnn", pa.list_(pa.float32()))]))
    table, audio = [0.1] * NUMBERS, [{"musicnn": [0.2] * SET}, {"musicnn": [0.4] * SET}]
    return pa.RecordBatch.from_pydict(
        {
            "table_features": pa.array([table, [], table, table, None], numbers),
            "title": [NAMES[0], NAMES[1], "!!!", NAMES[2], None],
            "album": pa.nulls(5, pa.string()),
            "artists": pa.array([["x"], None, [], [], None], pa.list_(pa.string())),
            WINDOWS: pa.array([audio, audio, audio, None, None], windows),
        }
    )


def test_a_tag_lists_the_inputs_that_it_is_based_on(network: Fusion) -> None:
    found = _tags(_model(network))
    assert found["inputs"].to_pylist() == [
        [TABLE, TEXT, "musicnn"],
        [TEXT, "musicnn"],
        [TABLE, "musicnn"],
        [TABLE, TEXT],
        [],
    ]
    assert found["status"].to_pylist() == ["tagged"] * 4 + ["no_features"]
    assert [one is None for one in found["top"].to_pylist()] == [False] * 4 + [True]


def test_the_prediction_of_a_track_does_not_depend_on_its_batch(network: Fusion) -> None:
    model, positions = _model(network), tuple(range(NUMBERS))
    whole = probabilities(model, model_rows(_batch(), model, positions))
    for at in range(4):
        one = probabilities(model, model_rows(_batch().slice(at, 1), model, positions))
        np.testing.assert_allclose(one[0], whole[at], rtol=1e-5)
    assert probabilities(model, model_rows(_batch().slice(4, 1), model, positions)).shape == (0, 4)


def test_a_missing_input_is_not_an_outlier(network: Fusion) -> None:
    cloud = nn.ModuleDict({TABLE: _Far()})
    model = Model(replace(CARD, outlier_limits={TABLE: 1.0}), network, cloud)
    found = _tags(model)
    assert found["status"].to_pylist() == ["outlier", "tagged", "outlier", "outlier", "no_features"]


class _Far(nn.Module):
    """A training distribution that is far from all tracks, also from those without the input."""

    def forward(self, x_BF: Tensor) -> Tensor:
        return torch.full((len(x_BF),), 9.0)


@pytest.mark.parametrize(
    "names", [(TEXT, "musicnn"), (TABLE, TAGS), (TEXT, TAGS), (TAGS,), (TABLE, "musicnn")]
)
def test_every_parameter_that_is_trained_gets_a_gradient_with_any_inputs(names: tuple[str, ...]) -> None:
    """Otherwise the training of several ranks stops."""
    features = tuple(feature for feature in FEATURES if feature.input in names)
    tokens = {name: len(TOKENS) for name in names if name in (TEXT, TAGS)}
    network = _fitted(replace(CARD, inputs=names, features=features, tokens=tokens))
    label = torch.arange(60) % 4
    inputs = _inputs(60) | {TAGS: torch.ones(60, 128, dtype=torch.int32)}
    fold = {FOLD: torch.arange(60)[:, None] % FOLDS}
    given = {name: inputs[name] for name in names} | (fold if tokens else {})
    network.fit_train([(given, label)])
    torch.autograd.backward(network.loss(network.train()(given), label, 0.1))
    lacking = [name for name, each in network.named_parameters() if each.requires_grad and each.grad is None]
    assert not lacking
    network.eval().fit_held_out([(given, label)])
    assert torch.isfinite(network.probabilities(given)).all()


def test_the_evidence_of_a_track_is_the_sum_of_that_of_its_tokens() -> None:
    counts = TokenCounts(len(TOKENS), 4)
    number, label = _inputs(60)[TEXT], torch.arange(60) % 4
    counts.fit_train([({TEXT: number}, label)])
    evidence = counts.eval().evidence({TEXT: number})
    of_tokens = counts.by_token(number[7][number[7] > 0], 2)
    assert len(of_tokens) == 20
    torch.testing.assert_close(of_tokens.sum(), evidence[7, 2], atol=1e-3, rtol=1e-3)
