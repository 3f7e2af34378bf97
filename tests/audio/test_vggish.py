"""VGGish with weights from the user: synthetic weights here, whose embedding numpy can calculate too."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch

from genremill.infra.errors import UsageError
from genremill.models.pretrained import vggish
from genremill.models.pretrained.vggish import CONVOLUTIONS, DENSE, POOLED_AFTER, SHAPES
from genremill.udfs.feature_sets import base, registry
from genremill.udfs.feature_sets.logmel import LogMel
from tests.audio.audio_corpus import song

SR = 16_000
Arrays = dict[str, npt.NDArray[np.float32]]


def sparse_weights() -> Arrays:
    """Weights that are mostly zero, so that they are created and multiplied quickly."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in SHAPES.items():
        found[name] = np.zeros(shape, np.float32)
        some = rng.integers(found[name].size, size=4096)
        found[name].flat[some] = rng.normal(scale=0.3, size=4096)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("vggish")
    arrays = sparse_weights()
    safetensors.numpy.save_file(arrays, folder / "weights.safetensors")
    np.savez_compressed(folder / "weights.npz", **arrays)  # type: ignore[arg-type]
    del arrays["vggish/fc2/biases"]
    (folder / "text.safetensors").write_text("<html>not found</html>")
    (folder / "text.npz").write_text("<html>not found</html>")
    safetensors.numpy.save_file({"vggish/fc2/weights": np.zeros((2, 2))}, folder / "other.safetensors")
    yield folder
    for path in folder.iterdir():  # pytest would keep half a gigabyte
        path.unlink()
    vggish.read_weights.cache_clear()


def by_numpy(arrays: Arrays, patch_TM: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The embedding of one patch in the layout of TensorFlow: height, width, channels."""
    x = patch_TM[:, :, np.newaxis].astype(float)
    for name in CONVOLUTIONS:
        kernel = arrays[f"vggish/{name}/weights"]
        around = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        height, width = x.shape[:2]
        taken = (around[i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))
        x = np.maximum(sum(taken) + arrays[f"vggish/{name}/biases"], 0)
        if name in POOLED_AFTER:
            x = x.reshape(height // 2, 2, width // 2, 2, -1).max(axis=(1, 3))
    x = x.ravel()
    for name in DENSE:
        x = x @ arrays[f"vggish/{name}/weights"] + arrays[f"vggish/{name}/biases"]
        x = x if name == "fc2" else np.maximum(x, 0)
    return np.asarray(x, np.float64)


def test_values_are_embeddings_or_their_means(files: Path) -> None:
    features = registry.named("vggish", vggish_weights=str(files / "weights.safetensors"))
    assert features.shape == (128,)
    y = song(2.0, SR)
    patches = LogMel().rows(y, 0.975)
    rows = features.rows(y, 0.975)
    assert [row.start_s for row in rows] == [patch.start_s for patch in patches] == [0.0, 0.96]
    expected = by_numpy(sparse_weights(), patches[1].values.reshape(96, 64))
    assert np.abs(expected).max() > 0.1
    assert rows[1].values == pytest.approx(expected, rel=1e-3, abs=1e-4 * np.abs(expected).max())
    [whole] = features.rows(y, None)
    assert np.allclose(whole.values, np.mean([row.values for row in rows], axis=0), atol=1e-5)


def test_the_record_has_the_digest_of_the_weights_but_not_their_uri(files: Path) -> None:
    features = registry.named("vggish", vggish_weights=str(files / "weights.safetensors"))
    record = base.record(features, {})
    assert str(files) not in str(record)
    assert vggish.read_weights(str(files / "weights.safetensors")).sha256 in str(record)


def test_both_file_formats_give_the_same_values(files: Path) -> None:
    one = vggish.read_weights(str(files / "weights.npz")).tensors
    other = vggish.read_weights(str(files / "weights.safetensors")).tensors
    assert one.keys() == other.keys() == SHAPES.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["text.safetensors", "text.npz", "other.safetensors"])
def test_invalid_weights_are_an_error(files: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        vggish.read_weights(str(files / name))


def test_missing_weights_are_an_error_that_names_the_flag() -> None:
    with pytest.raises(UsageError, match="--vggish-weights"):
        registry.named("vggish")
