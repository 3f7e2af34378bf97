"""Sequences and images: shapes, padding, and scales that are fitted without the padding."""

import numpy as np
import pytest
import torch

from genremill.infra.errors import UsageError
from genremill.models.encoders.arrays import ArrayEncoder, real_steps
from genremill.models.features import ScalingRule

RNG = np.random.default_rng(0)


def _sequences(rows: int, steps: int, channels: int, lengths: list[int]) -> np.ndarray:
    x = RNG.normal(5, 3, size=(rows, steps, channels)).astype(np.float32)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 0
    return x


def test_a_sequence_is_viewed_with_channels_first_and_its_padding_stays_0() -> None:
    x = _sequences(40, 7, 3, [7, 4, 1, 0] * 10)
    encoder = ArrayEncoder({"segments": (7, 3)}, ScalingRule.REPORT)
    encoder.learn({"segments": x.reshape(40, -1)})
    z = encoder({"segments": torch.from_numpy(x.reshape(40, -1))})
    assert z.shape == (40, 3, 7)
    lengths = real_steps(z).sum(dim=(1, 2)).tolist()
    assert lengths == [7, 4, 1, 0] * 10
    real = z.transpose(1, 2)[real_steps(z)[:, 0] > 0]
    torch.testing.assert_close(real.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(real.std(dim=0, unbiased=False), torch.ones(3), atol=1e-5, rtol=0)


def test_a_step_of_zeros_inside_a_sequence_is_not_padding() -> None:
    x = torch.tensor([[1.0, 0.0, 2.0, 0.0]])
    encoder = ArrayEncoder({"a": (4, 1)})
    encoder.learn({"a": x.numpy()})
    assert encoder({"a": x})[0, 0, 3] == 0
    assert encoder({"a": x})[0, 0, 1] == pytest.approx(-1 / np.std([1, 0, 2]))


def test_an_image_keeps_its_shape() -> None:
    x = RNG.normal([[[1]], [[100]]], [[[2]], [[30]]], size=(50, 2, 3, 4)).astype(np.float32)
    encoder = ArrayEncoder({"logmel": (2, 3, 4)}, ScalingRule.REPORT)
    encoder.learn({"logmel": x.reshape(50, -1)})
    z = encoder({"logmel": torch.from_numpy(x.reshape(50, -1))})
    assert z.shape == x.shape
    np.testing.assert_allclose(z.mean(dim=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(dim=(0, 2, 3), unbiased=False), 1, atol=1e-5)
    assert (z[0, 1, 2, 3] - z[0, 1, 0, 0]) * encoder.deviation_C[1] == pytest.approx(
        x[0, 1, 2, 3] - x[0, 1, 0, 0], rel=1e-4
    )


def test_the_channels_of_several_inputs_are_concatenated() -> None:
    encoder = ArrayEncoder({"timbre": (5, 2), "pitch": (5, 3)})
    timbre, pitch = torch.ones(4, 10), 2 * torch.ones(4, 15)
    assert encoder({"pitch": pitch, "timbre": timbre})[0, :, 0].tolist() == [1, 1, 2, 2, 2]
    with pytest.raises(UsageError, match="expected sequences of equal length or images of equal size"):
        ArrayEncoder({"timbre": (5, 2), "pitch": (6, 3)})
    with pytest.raises(UsageError, match="expected sequences of equal length or images of equal size"):
        ArrayEncoder({"timbre": (5, 2), "logmel": (1, 6, 3)})


def test_constant_channels_and_rows_of_only_padding_stay_finite() -> None:
    for x in (np.full((3, 8), 2, np.float32), np.zeros((3, 8), np.float32)):
        encoder = ArrayEncoder({"a": (4, 2)})
        encoder.learn({"a": x})
        assert torch.isfinite(encoder({"a": torch.from_numpy(x)})).all()


@pytest.mark.parametrize("hostile", [1e6, -3e38])
def test_a_few_hostile_values_change_no_scale_unless_the_scalers_are_those_of_the_reports(
    hostile: float,
) -> None:
    x = RNG.normal(5, 2, size=(200, 20)).astype(np.float32)
    poisoned = x.copy()
    poisoned[0, 3] = hostile
    robust, clean, report = (
        ArrayEncoder({"a": (10, 2)}, of) for of in (*[ScalingRule.ROBUST] * 2, ScalingRule.REPORT)
    )
    for encoder, rows in ((robust, poisoned), (clean, x), (report, poisoned)):
        encoder.learn({"a": rows})
    np.testing.assert_allclose(robust.mean_C, clean.mean_C, rtol=0.01)
    np.testing.assert_allclose(robust.deviation_C, clean.deviation_C, rtol=0.01)
    assert robust({"a": torch.from_numpy(poisoned)}).abs().max() == 10
    assert report.deviation_C[1] > 1000


def test_the_scalers_of_the_reports_use_all_values() -> None:
    x = RNG.standard_cauchy(size=(200, 20)).astype(np.float32)
    encoder = ArrayEncoder({"a": (10, 2)}, ScalingRule.REPORT)
    encoder.learn({"a": x})
    x_SC = x.reshape(-1, 2)
    np.testing.assert_allclose(encoder.mean_C, x_SC.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(encoder.deviation_C, x_SC.std(axis=0, dtype=np.float64), rtol=1e-5)
