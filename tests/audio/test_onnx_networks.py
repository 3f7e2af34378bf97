"""Networks of the user: their values, what a description changes, and clear errors before audio is read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from genremill.infra.errors import UsageError
from genremill.udfs.feature_sets import base, onnx_network, registry
from tests.audio import onnx_networks
from tests.audio.onnx_networks import WAVEFORM, Loudness
from tests.audio.torch_taggers import FOLDER

MUSICNN = (FOLDER / "musicnn.yaml").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network."""
    folder = tmp_path_factory.mktemp("networks")
    onnx_networks.loudness(folder)
    return folder


def signal(sr: int) -> base.Signal:
    random, time = np.random.default_rng(0), np.arange(round(sr * 7.3)) / sr
    tone = np.sin(2 * np.pi * 220 * time) + 0.5 * np.sin(2 * np.pi * 1234 * time)
    return (0.2 * tone + 0.05 * random.normal(size=len(time))).astype(np.float32)


def test_a_network_that_reads_waveforms(folder: Path) -> None:
    features = registry.named(f"onnx:{folder}/loudness.onnx")
    y = signal(8000)
    windows = np.stack([y[start : start + 8000] for start in range(0, len(y) - 7999, 4000)])
    windows -= windows.mean(axis=1, keepdims=True)
    windows /= windows.std(axis=1, keepdims=True)
    expected = Loudness()(torch.from_numpy(windows)[:, None]).detach().numpy().reshape(len(windows), 12)
    rows = features.rows(y, 1.0)
    assert [row.start_s for row in rows] == [0.5 * number for number in range(len(windows))]
    np.testing.assert_allclose(np.stack([row.values for row in rows]), expected, atol=1e-5)
    np.testing.assert_allclose(features.values(y), expected.max(axis=0), atol=1e-5)
    (short,) = features.rows(y[:100], 1.0)
    assert short.values.shape == (12,)
    assert [row.start_s for row in features.rows(y, 3.0)] == [0.0, 3.0]


def test_the_fingerprint_depends_on_the_file_and_the_description_but_not_on_the_place(
    folder: Path, tmp_path: Path
) -> None:
    def fingerprint(path: Path) -> str:
        return base.fingerprint(base.record(registry.named(f"onnx:{path}"), {}))

    for ending in ("onnx", "yaml"):
        shutil.copy(folder / f"loudness.{ending}", tmp_path / f"loudness.{ending}")
    same = fingerprint(folder / "loudness.onnx")
    assert fingerprint(tmp_path / "loudness.onnx") == same
    (tmp_path / "loudness.yaml").write_text(WAVEFORM.replace("max", "mean"))
    assert fingerprint(tmp_path / "loudness.onnx") != same


def test_a_file_that_changes_after_the_start_is_refused(folder: Path, tmp_path: Path) -> None:
    for ending in ("onnx", "yaml"):
        shutil.copy(folder / f"loudness.{ending}", tmp_path / f"loudness.{ending}")
    features = registry.named(f"onnx:{tmp_path}/loudness.onnx")
    shutil.copy(FOLDER / "musicnn.onnx", tmp_path / "loudness.onnx")
    onnx_network.read_network.cache_clear()
    with pytest.raises(UsageError, match="expected sha256"):
        features.warm()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("output: values", "output: embedding"), "`output`: found 'embedding'; the network has: values"),
        (("bands: 96", "bands: 64"), r"expects inputs of shape \[1, 187, 96\]"),
        (("window: 2.992", "window: 2"), r"the description gives \['windows', 125, 96\]"),
        (("n-fft: 512", "n-fft: 511"), "mel.n_fft"),
        (("n-fft", "nfft"), "unknown key 'nfft'; expected n-fft, hop-length"),
        (("sample-rate: 16000\n", ""), "missing required field `sample_rate`"),
        (("sample-rate: 16000", "sample-rate: fast"), "sample_rate"),
        (("input: mel", "input: waveform"), "expected a section `mel` if the input is mel"),
        (("log: log10", "log: log2"), "log2"),
        ((MUSICNN, "- a"), "expected keys such as `input`; found list"),
    ],
)
def test_a_wrong_description_is_one_clear_error(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    shutil.copy(FOLDER / "musicnn.onnx", tmp_path / "net.onnx")
    assert change[0] in MUSICNN
    (tmp_path / "net.yaml").write_text(MUSICNN.replace(*change))
    with pytest.raises(UsageError, match=message) as caught:
        registry.named(f"onnx:{tmp_path}/net.onnx")
    assert str(tmp_path) in str(caught.value)


def test_a_wrong_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"net\.onnx"):
        registry.named(f"onnx:{tmp_path}/net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(UsageError, match=r"net\.yaml"):
        registry.named(f"onnx:{tmp_path}/net.onnx")
    (tmp_path / "net.yaml").write_text(WAVEFORM)
    with pytest.raises(UsageError, match="cannot be read as an ONNX network"):
        registry.named(f"onnx:{tmp_path}/net.onnx")
