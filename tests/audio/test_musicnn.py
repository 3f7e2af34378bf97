"""The published taggers: their probabilities on real clips, and stored values for synthetic signals."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import soxr
import torch

from genremill.infra.errors import UsageError
from genremill.udfs.feature_sets import onnx_network
from genremill.udfs.feature_sets.base import Signal
from genremill.udfs.feature_sets.music_taggers import LAYERS, TAGS, music_tagger
from tests.audio import torch_taggers
from tests.audio.audio_corpus import drums, song, tone
from tests.conftest import real_data

SETS = {network: music_tagger(name) for name, network in torch_taggers.PUBLISHED.items()}
WIDTHS = {"MSD_musicnn": 200 + 50, "MSD_vgg": 256 + 50}
SR = 16_000
BOTH = pytest.mark.parametrize("network", SETS)


def clip(name: str) -> Signal:
    samples, rate = soundfile.read(real_data(f"audio/fma-clips/{name}.mp3"), dtype="float32", always_2d=True)
    y: Signal = soxr.resample(samples.mean(axis=1), rate, SR, quality="HQ")
    return y


@BOTH
@pytest.mark.parametrize("name", ["000002", "000010"])
def test_tags_are_equal_to_the_published_graph(network: str, name: str) -> None:
    expected = np.load(real_data("pretrained/musicnn/expected.npz"))
    rows = np.array([row.values for row in SETS[network].rows(clip(name), 3.0)])
    tags = expected[f"{name}.{network}.tags"]
    assert np.abs(rows[:, -50:] - tags).max() < 1e-4
    layer = expected[f"{name}.{network}.{LAYERS[SETS[network].name]}"]
    # The published run only kept the first window of the penultimate layer, and repeats it.
    windows = 1 if network == "MSD_musicnn" else len(layer)
    assert np.abs(rows[:windows, :-50] - layer[:windows]).max() < 1e-3


@BOTH
def test_the_included_weights_are_equal_to_the_published_arrays(network: str) -> None:
    published = np.load(real_data(f"pretrained/musicnn/{network}.npz"))
    shipped = torch_taggers.shipped_weights(SETS[network].name)
    assert shipped.keys() == set(published)
    assert all(np.array_equal(published[name], array) for name, array in shipped.items())


@BOTH
def test_values_are_equal_to_those_of_pytorch(network: str) -> None:
    features, y = SETS[network], song(7.0, SR)
    patches = torch.from_numpy(onnx_network._inputs(y, features.description))
    tagger = torch_taggers.Tagger(features.name, torch_taggers.shipped_weights(features.name))
    rows = features.rows(y, 3.0)
    assert [row.start_s for row in rows] == [0, 2.992]
    assert np.allclose([row.values for row in rows], tagger(patches), atol=1e-4)


def test_tag_names_are_equal_to_the_published_names() -> None:
    assert list(TAGS) == real_data("pretrained/musicnn/tags.txt").read_text().splitlines()


@BOTH
def test_values_have_names_and_are_means_over_patches(network: str) -> None:
    features = SETS[network]
    assert features.shape == (WIDTHS[network],)
    assert len(set(features.value_names)) == features.shape[0]
    assert all(name.isidentifier() for name in features.value_names)
    y = song(7.0, SR)
    patches = np.array([row.values for row in features.rows(y, 3.0)])
    assert patches.shape == (2, *features.shape)
    [whole] = features.rows(y, None)
    assert np.allclose(whole.values, patches.mean(axis=0), atol=1e-6)
    assert whole.values.dtype == np.float32


@BOTH
def test_a_short_signal_is_padded_with_silence(network: str) -> None:
    y = song(1.0, SR)
    padded = np.pad(y, (0, 186 * 256 - len(y)))
    assert np.array_equal(SETS[network].values(y), SETS[network].values(padded))


GOLDEN = {
    ("MSD_musicnn", drums): {"electronic": 0.5866, "electro": 0.2659, "electronica": 0.1645},
    ("MSD_musicnn", tone): {"ambient": 0.3512, "electronic": 0.1792, "experimental": 0.1386},
    ("MSD_vgg", drums): {"electronic": 0.4822, "electro": 0.1458, "electronica": 0.1368},
    ("MSD_vgg", tone): {"experimental": 0.2666, "ambient": 0.2407, "electronic": 0.2215},
}
"""The three most likely tags of 3 s, from a copy of the published graph."""


@pytest.mark.parametrize(("network", "signal"), GOLDEN)
def test_tags_are_equal_to_stored_values(network: str, signal: Callable[[float, int], Signal]) -> None:
    tags = dict(zip(TAGS, SETS[network].values(signal(3.0, SR))[-50:].tolist(), strict=True))
    likeliest = sorted(tags, key=lambda tag: -tags[tag])[:3]
    assert {tag: tags[tag] for tag in likeliest} == pytest.approx(GOLDEN[network, signal], abs=2e-3)


@BOTH
def test_a_worker_finds_the_network_in_its_own_package(network: str) -> None:
    of_driver = dataclasses.replace(SETS[network], uri=f"file:///elsewhere/{SETS[network].name}.onnx")
    of_driver.warm()
    assert of_driver.settings() == SETS[network].settings()
    with pytest.raises(UsageError, match="expected sha256"):
        dataclasses.replace(of_driver, sha256="0" * 64).warm()
