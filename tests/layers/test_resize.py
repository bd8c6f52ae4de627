"""Interpolation and the shuffling of pixels against torch, and by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers
from dlkit.layers import Layer

RNG = np.random.default_rng(0)


def applied(layer: Layer, x: np.ndarray) -> np.ndarray:
    return np.asarray(layer.apply({}, {}, jnp.asarray(x))[0])


@pytest.mark.parametrize(
    ("method", "name", "shape"),
    [
        ("linear", "bilinear", (7, 9)),
        ("linear", "bilinear", (2, 3)),
        ("nearest", "nearest-exact", (7, 2)),
        ("linear", "bilinear", (4, 5)),
    ],
)
def test_resize_equals_torch(method: str, name: str, shape: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    x = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
    smaller = shape < x.shape[1:3] and method == "linear"
    expected = torch.nn.functional.interpolate(
        torch.tensor(x.transpose(0, 3, 1, 2)), size=shape, mode=name, **({"antialias": True} if smaller else {})
    )
    found = applied(layers.resize(shape, method=method), x)
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)


def test_every_method_keeps_a_constant_and_cubic_a_line_in_its_middle() -> None:
    for method in ("nearest", "linear", "cubic"):
        np.testing.assert_allclose(applied(layers.resize((9,), method=method), np.full((4, 2), 3.0)), 3.0, rtol=1e-6)
    line = applied(layers.resize((16,), method="cubic"), np.arange(8.0)[:, None])[:, 0]
    np.testing.assert_allclose(line[4:12], np.arange(4, 12) / 2 - 0.25, rtol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pixel_shuffle_equals_torch(factor: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    x = RNG.normal(size=(2, 3, 4, 2 * factor**2)).astype(np.float32)
    expected = torch.nn.functional.pixel_shuffle(torch.tensor(x.transpose(0, 3, 1, 2)), factor).numpy()
    np.testing.assert_array_equal(applied(layers.pixel_shuffle(factor), x), expected.transpose(0, 2, 3, 1))


def test_pixel_shuffle_of_sequences_and_volumes() -> None:
    sequence = np.arange(12.0).reshape(2, 6)  # time 2, of 2 channels 3 steps each
    found = applied(layers.pixel_shuffle(3, dimensions=1), sequence)
    np.testing.assert_array_equal(found, sequence.reshape(2, 2, 3).transpose(0, 2, 1).reshape(6, 2))
    assert applied(layers.pixel_shuffle(2, dimensions=3), np.zeros((1, 2, 3, 8))).shape == (2, 4, 6, 1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^pixel_shuffle: expected channels that 4 divides, got float32\[2,2,6\]"):
        layers.pixel_shuffle(2).apply({}, {}, jnp.ones((2, 2, 6)))
    with pytest.raises(ValueError, match=r"^pixel_shuffle: expected inputs with 2 spatial axes and channels"):
        layers.pixel_shuffle(2).apply({}, {}, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"^resize: expected shape\[1\] to be an integer of at least 1, got 0"):
        layers.resize((2, 0))
    with pytest.raises(ValueError, match=r"^resize: expected a size per spatial axis"):
        layers.resize(())
    with pytest.raises(ValueError, match=r"^resize: expected method to be one of .*, got 'area'"):
        layers.resize((2,), method="area")
    with pytest.raises(TypeError, match=r"^resize: expected floating-point inputs, got int32\[2,2\]"):
        layers.resize((4,)).apply({}, {}, jnp.ones((2, 2), jnp.int32))
