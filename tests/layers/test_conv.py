"""Convolutions against flax, torch and XLA's own convolution, in values and gradients of first and second order."""

import inspect
import re
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from dlkit import layers
from dlkit.layers import convolution_forms, measured_convolutions
from dlkit.layers.measured_convolutions import convolve_lowered
from dlkit.layers.window import Window

RNG = np.random.default_rng(0)


class Row(NamedTuple):
    """A convolution: input [*spatial, in], kernel, settings."""

    spatial: tuple[int, ...]
    inputs: int
    size: tuple[int, ...]
    settings: dict[str, Any]
    batch: tuple[int, ...] = (2,)


ROWS = {
    "1d": Row((7,), 3, (3,), {}),
    "1d_even_strided_dilated": Row((11,), 2, (4,), {"strides": 3, "dilation": 2}),
    "1d_depthwise": Row((7,), 4, (3,), {"groups": 4, "padding": "VALID"}),
    "2d": Row((5, 6), 2, (3, 3), {}, ()),
    "2d_1x1_strided": Row((5, 6), 3, (1, 1), {"strides": 2, "use_bias": False}, (2, 3)),
    "2d_even_strided": Row((6, 8), 3, (4, 2), {"strides": (2, 1)}),
    "2d_valid_dilated": Row((8, 7), 2, (3, 2), {"padding": "VALID", "dilation": (2, 1), "strides": (1, 3)}),
    "2d_pairs": Row((5, 4), 2, (3, 3), {"padding": ((2, 0), (1, 3)), "strides": 2}),
    "2d_groups": Row((5, 6), 4, (3, 3), {"groups": 2, "strides": (1, 2)}),
    "2d_depthwise": Row((5, 6), 3, (3, 3), {"groups": 3, "strides": 2, "dilation": 2}),
    "2d_rows": Row((6, 6), 12, (4, 4), {"strides": (1, 2), "dilation": (2, 1)}),
    "3d": Row((4, 3, 5), 2, (2, 3, 1), {"strides": (1, 2, 1)}),
    "3d_rows": Row((3, 4, 3), 8, (3, 3, 3), {"padding": "VALID"}),
}
TRANSPOSED = {
    "1d": Row((5,), 3, (3,), {}),
    "1d_wide_stride": Row((4,), 2, (2,), {"strides": 3}),
    "2d": Row((3, 4), 3, (4, 4), {"strides": 2}, (2, 2)),
    "2d_odd": Row((3, 4), 2, (3, 3), {"strides": (2, 3)}, ()),
    "2d_valid_dilated": Row((3, 4), 2, (3, 2), {"strides": (2, 1), "padding": "VALID", "dilation": (1, 2)}),
    "2d_valid_wide_stride": Row((3, 3), 2, (2, 2), {"strides": 3, "padding": "VALID"}),
    "2d_pairs": Row((4, 4), 2, (3, 3), {"strides": 2, "padding": ((2, 1), (0, 3)), "use_bias": False}),
    "3d": Row((2, 3, 2), 2, (2, 3, 2), {"strides": (2, 1, 2)}),
}


def examples(row: Row, dtype: str = "float32") -> jax.Array:
    return jnp.asarray(RNG.normal(size=(*row.batch, *row.spatial, row.inputs)), dtype)


def results(apply: Any, params: Any, x: jax.Array) -> Any:
    """Outputs and gradients of one loss, compiled."""

    def pulled_back(params, x):
        y, vjp = jax.vjp(apply, params, x)
        return y, vjp(jnp.cos(y))

    return jax.jit(pulled_back)(params, x)


def params_of(layer: layers.Layer, row: Row) -> Any:
    params, state = layer.init(jax.random.key(0), (*row.spatial, row.inputs))
    assert state == {}
    return jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.arange(leaf.shape[-1]).reshape((1,) * (leaf.ndim - 1) + (-1,)), params
    )


def flax_settings(row: Row) -> dict[str, Any]:
    rename = {"dilation": "kernel_dilation", "groups": "feature_group_count"}
    settings = {rename.get(name, name): value for name, value in row.settings.items()}
    for name in ("strides", "kernel_dilation"):
        if isinstance(settings.get(name), int):
            settings[name] = (settings[name],) * len(row.size)
    return settings


@pytest.mark.long
@pytest.mark.parametrize("name", ROWS)
def test_conv_equals_flax_in_values_and_gradients(name: str) -> None:
    row = ROWS[name]
    channels = 2 * row.settings.get("groups", 2)
    layer = layers.conv(channels, row.size, **row.settings)
    reference = linen.Conv(channels, row.size, **flax_settings(row))
    params, x = params_of(layer, row), examples(row)
    actual = results(lambda params, x: layer.apply(params, {}, x)[0], params, x)
    expected = results(lambda params, x: reference.apply({"params": params}, x), params, x)
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose_equals_flax_in_values_and_gradients(name: str) -> None:
    row = TRANSPOSED[name]
    layer = layers.conv_transpose(3, row.size, **row.settings)
    reference = linen.ConvTranspose(3, row.size, **flax_settings(row))
    params, x = params_of(layer, row), examples(row)
    actual = results(lambda params, x: layer.apply(params, {}, x)[0], params, x)
    expected = results(lambda params, x: reference.apply({"params": params}, x), params, x)
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-5)


WINDOWS = {
    "conv": (Window((3, 2), (2, 1), (1, 2), ((1, 1), (0, 2))), 1),
    "groups": (Window((3, 2), (1, 2), (1, 1), ((1, 1), (1, 0))), 2),
    "depthwise": (Window((3, 2), (1, 1), (2, 1), ((2, 2), (1, 0))), 4),
    "transposed": (Window((3, 4), (2, 2), (1, 1), ((2, 1), (2, 2))), 1),
}
FORMS = {
    "transposed": (
        convolution_forms.convolve_transposed,
        (convolution_forms.transposed_by_matmul, convolution_forms.transposed_by_xla),
    )
}


@pytest.mark.long
@pytest.mark.parametrize("name", WINDOWS)
def test_the_forms_agree_in_derivatives_of_every_order_and_mode(name: str) -> None:
    window, groups = WINDOWS[name]
    by_platform, forms = FORMS.get(
        name, (convolution_forms.convolve, (convolution_forms.convolve_by_matmul, convolution_forms.convolve_by_xla))
    )
    kernel_shape = (3, 4 if name == "transposed" else 2, 4 // groups, 4)

    @partial(jax.jit, static_argnums=0)
    def derivatives(form, x, kernel):
        direction = (jnp.sin(x), jnp.cos(kernel))

        def loss(x, kernel):
            return jnp.sum(jnp.sin(form(x, kernel, window)))

        def slope(x, kernel):  # as in a gradient penalty
            return jnp.sum(jax.grad(loss)(x, kernel) ** 2)

        gradient = jax.grad(loss, argnums=(0, 1))
        return {
            "value": form(x, kernel, window),
            "gradient": gradient(x, kernel),
            "forward": jax.jvp(lambda x, kernel: form(x, kernel, window), (x, kernel), direction)[1],
            "forward over reverse": jax.jvp(gradient, (x, kernel), direction)[1],
            "reverse over reverse": jax.grad(slope, argnums=(0, 1))(x, kernel),
            "only inputs": jax.grad(loss, argnums=0)(x, kernel),
            "only kernel": jax.grad(loss, argnums=1)(x, kernel),
        }

    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(RNG.normal(size=shape), jnp.float64) for shape in ((2, 5, 6, 4), kernel_shape))
        expected = derivatives(forms[1], x, kernel)
        for form in (by_platform, forms[0]):
            chex.assert_trees_all_close(derivatives(form, x, kernel), expected, rtol=1e-9, atol=1e-9)


MEASURED = {
    "channels first": ((3, 5, 6, 3), 1, Window((3, 2), (1, 2), (2, 1), ((2, 1), (1, 2)))),
    "patches": ((3, 4, 3, 17), 1, Window((2, 3), (2, 1), (1, 1), ((0, 1), (1, 1)))),
    "groups": ((2, 4, 5, 8), 2, Window((3, 2), (1, 2), (1, 1), ((1, 1), (1, 0)))),
    "groups joined": ((2, 4, 5, 8), 4, Window((3, 2), (1, 2), (1, 1), ((1, 1), (1, 0)))),
    "3d": ((3, 2, 3, 4, 2), 1, Window((2, 2, 3), (1, 2, 1), (1, 1, 1), ((0, 1), (1, 0), (1, 1)))),
}


@pytest.mark.long
@pytest.mark.parametrize("lowering", ["auto", "xla"])
@pytest.mark.parametrize("name", MEASURED)
def test_the_measured_forms_are_xlas_convolution_and_its_gradients(
    name: str, lowering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, groups, window = MEASURED[name]
    # few examples at a time, however small they are
    monkeypatch.setattr(measured_convolutions, "_PATCHES_AT_ONCE", 0)
    monkeypatch.setattr(measured_convolutions, "_PATCHES_IN_CACHE", 0)
    monkeypatch.setattr(measured_convolutions, "_WIDE_GROUP", 4)

    @partial(jax.jit, static_argnums=0)
    def derivatives(form, x, kernel):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(form(x, kernel, window)))

        gradient = jax.grad(loss, argnums=(0, 1))
        return {
            "value": form(x, kernel, window),
            "forward over reverse": jax.jvp(gradient, (x, kernel), (jnp.sin(x), jnp.cos(kernel))),
            "of each example": jax.vmap(lambda x: gradient(x[None], kernel))(x),
        }

    with jax.enable_x64(True):
        x = jnp.asarray(RNG.normal(size=shape), jnp.float64)
        kernel = jnp.asarray(RNG.normal(size=(*window.size, shape[-1] // groups, 4)), jnp.float64)
        actual = derivatives(partial(convolve_lowered, lowering=lowering), x, kernel)
        expected = derivatives(convolution_forms.convolve_by_xla, x, kernel)
        chex.assert_trees_all_close(actual, expected, rtol=1e-9, atol=1e-9)


def test_the_lowering_is_that_of_the_layer_or_else_of_the_surroundings() -> None:
    x, kernel = jnp.ones((2, 8, 8, 16)), jnp.ones((3, 3, 16, 8))
    steps = {
        lowering: jax.jit(
            lambda kernel, lowering=lowering: layers.conv(8, (3, 3), use_bias=False, lowering=lowering).apply(
                {"kernel": kernel}, {}, x
            )[0]
        )
        for lowering in ("auto", "xla", "matmul")
    }

    def is_convolution(lowering: str) -> bool:
        text = steps[lowering].trace(kernel).lower(lowering_platforms=("cpu",)).as_text()
        assert ("stablehlo.dot_general" in text) != ("stablehlo.convolution" in text)
        return "stablehlo.convolution" in text

    assert is_convolution("auto") and is_convolution("xla") and not is_convolution("matmul")
    with layers.default_lowering("matmul"):  # the trace from before is not used
        assert not is_convolution("auto") and is_convolution("xla")
    assert is_convolution("auto")


@pytest.mark.parametrize("padding", ["CAUSAL", "CIRCULAR", "REFLECT"])
@pytest.mark.parametrize(("size", "strides", "dilation"), [(3, 1, 2), (4, 2, 1)])
def test_padding_by_a_rule_equals_flax(padding: str, size: int, strides: int, dilation: int) -> None:
    layer = layers.conv(2, (size,), strides=strides, dilation=dilation, padding=padding)
    reference = linen.Conv(2, (size,), (strides,), padding=padding, kernel_dilation=(dilation,))
    params, state = layer.init(jax.random.key(0), (9, 3))
    x = jnp.asarray(RNG.normal(size=(2, 9, 3)), jnp.float32)
    expected = reference.apply({"params": params}, x)
    np.testing.assert_allclose(layer.apply(params, state, x)[0], expected, rtol=1e-5, atol=1e-5)


def test_padding_with_values_of_a_sequence_is_refused_over_time() -> None:
    layer = layers.conv(2, (3,), padding="CIRCULAR")
    params, state = layer.init(jax.random.key(0), (9, 3))
    with pytest.raises(ValueError, match="conv: expected padding of sequences with zeros, got 'CIRCULAR'"):
        layers.apply_ragged(layer, params, state, jnp.ones((2, 9, 3)), jnp.array([9, 4]))


@pytest.mark.parametrize("name", WINDOWS)
def test_each_platform_gets_its_form_only(name: str) -> None:
    window, groups = WINDOWS[name]
    form = convolution_forms.convolve_transposed if name == "transposed" else convolution_forms.convolve
    x, kernel = jnp.ones((2, 5, 6, 4)), jnp.ones((3, 4 if name == "transposed" else 2, 4 // groups, 4))
    step = jax.jit(jax.grad(lambda x, kernel: jnp.sum(form(x, kernel, window) ** 2), argnums=(0, 1)))
    compiled = step.lower(x, kernel).compile().as_text()
    assert "convolution(" not in compiled and "conditional(" not in compiled
    text = step.trace(x, kernel).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.convolution") >= 3 and "stablehlo.dot_general" not in text


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere convolutions stay XLA's")
def test_the_gradient_of_few_outputs_at_many_positions_has_them_as_its_first_operand() -> None:
    x, kernel = jnp.ones((16, 8, 8, 2)), jnp.ones((3, 3, 2, 4))
    window = Window((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
    step = jax.jit(jax.grad(lambda kernel: jnp.sum(convolution_forms.convolve(x, kernel, window) ** 2)))
    text = step.trace(kernel).lower(lowering_platforms=("cpu",)).as_text()
    # (1024 positions x 4 outputs)' (1024 positions x 18 inputs)
    assert re.search(
        r"dot_general.*\(tensor<4x1024xf32>, tensor<1024x18xf32>\)|\(tensor<1024x4xf32>, tensor<1024x18xf32>\)", text
    )


@pytest.mark.long
@pytest.mark.parametrize("name", ["2d_groups", "2d_depthwise", "2d_rows"])
def test_float64_is_computed_in_float64(name: str) -> None:
    row = ROWS[name]
    with jax.enable_x64(True):
        layer = layers.conv(12, row.size, **row.settings)
        params = jax.tree.map(lambda leaf: leaf.astype("float64"), params_of(layer, row))
        x = examples(row, "float64")
        expected = linen.Conv(12, row.size, param_dtype=jnp.float64, **flax_settings(row)).apply({"params": params}, x)
        np.testing.assert_allclose(layer.apply(params, {}, x)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("x", "params", "expected"),
    [("bfloat16", "float32", "float32"), ("float32", "bfloat16", "float32"), ("bfloat16", "bfloat16", "bfloat16")],
)
@pytest.mark.parametrize("make", [layers.conv, layers.conv_transpose])
def test_the_output_has_the_promoted_dtype(make: Any, x: str, params: str, expected: str) -> None:
    layer = make(3, (2,), strides=2)
    tree, state = layer.init(jax.random.key(0), (6, 4))
    y, _ = layer.apply(jax.tree.map(lambda leaf: leaf.astype(params), tree), state, jnp.ones((6, 4), x))
    assert y.dtype == jnp.dtype(expected)


def test_by_hand() -> None:
    params = {"kernel": jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1), "bias": jnp.array([0.5])}
    x = jnp.array([[1.0], [2.0], [3.0]])
    y, _ = layers.conv(1, (3,)).apply(params, {}, x)
    assert y[:, 0].tolist() == [210.5, 321.5, 32.5]
    y, _ = layers.conv_transpose(1, (3,), strides=2, padding="VALID").apply(params, {}, x)
    # The spread inputs 1 0 2 0 3 with two zeros on either side; the kernel is not flipped.
    assert y[:, 0].tolist() == [100.5, 10.5, 201.5, 20.5, 302.5, 30.5, 3.5]


@pytest.mark.parametrize("size", [(3, 2), (4, 4)])
def test_conv_transpose_is_the_gradient_of_conv(size: tuple[int, ...]) -> None:
    kernel = jnp.asarray(RNG.normal(size=(*size, 3, 2)), jnp.float32)  # in, out of the transposed one
    small = jnp.asarray(RNG.normal(size=(2, 3, 4, 3)), jnp.float32)
    upsample = layers.conv_transpose(2, size, strides=2, use_bias=False)
    downsample = layers.conv(3, size, strides=2, use_bias=False)
    flipped = jnp.swapaxes(jnp.flip(kernel, (0, 1)), -1, -2)
    _, vjp = jax.vjp(lambda x: downsample.apply({"kernel": flipped}, {}, x)[0], jnp.zeros((2, 6, 8, 2)))
    np.testing.assert_allclose(upsample.apply({"kernel": kernel}, {}, small)[0], vjp(small)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "stride", "padding", "extra", "dilation"), [(4, 2, 1, 0, 1), (3, 3, 1, 2, 2)])
def test_conv_transpose_equals_torch(size: int, stride: int, padding: int, extra: int, dilation: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = RNG.normal(size=(2, 5, 4, 3)).astype(np.float32)
    weight = RNG.normal(size=(3, 2, size, size)).astype(np.float32)
    bias = np.array([0.5, -1.0], np.float32)
    expected = torch.nn.functional.conv_transpose2d(
        torch.tensor(x.transpose(0, 3, 1, 2)),
        torch.tensor(weight),
        torch.tensor(bias),
        stride=stride,
        padding=padding,
        output_padding=extra,
        dilation=dilation,
    )
    around = (size - 1) * dilation - padding
    layer = layers.conv_transpose(
        2, (size, size), strides=stride, dilation=dilation, padding=[(around, around + extra)] * 2
    )
    params = {"kernel": jnp.asarray(np.flip(weight, (2, 3)).transpose(2, 3, 0, 1)), "bias": jnp.asarray(bias)}
    y, _ = layer.apply(params, {}, jnp.asarray(x))
    np.testing.assert_allclose(y, expected.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_the_structure_is_that_of_flax() -> None:
    x = jnp.ones((1, 5, 5, 4))
    params, _ = layers.conv(6, (3, 2), groups=2).init(jax.random.key(0), (5, 5, 4))
    expected = linen.Conv(6, (3, 2), feature_group_count=2).init(jax.random.key(0), x)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(params, dict(expected))
    params, _ = layers.conv_transpose(6, (3, 2)).init(jax.random.key(0), (5, 5, 4))
    expected = linen.ConvTranspose(6, (3, 2)).init(jax.random.key(0), x)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(params, dict(expected))
    assert set(layers.conv(6, (3, 2), use_bias=False).init(jax.random.key(0), (5, 5, 4))[0]) == {"kernel"}


def test_the_initial_kernel_is_lecun_normal_and_the_bias_zero() -> None:
    params, _ = layers.conv(64, (5, 5), groups=2).init(jax.random.key(0), (8, 8, 32))
    # Variance 1 / (25 taps * 16 channels of a group), from 25,600 values: 0.05 +- 0.00022 (one sigma).
    assert float(params["kernel"].std()) == pytest.approx(0.05, abs=0.0015)
    assert not params["bias"].any()


def test_a_scan_over_training_steps_compiles_once() -> None:
    layer = layers.conv(2, (3,))
    params, _ = layer.init(jax.random.key(0), (5, 2))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def train(params, x):
        def step(params, _):
            gradient = jax.grad(lambda params: jnp.sum(layer.apply(params, {}, x)[0] ** 2))(params)
            return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient), None

        return jax.lax.scan(step, params, None, length=3)[0]

    chex.clear_trace_counter()
    once = train(params, jnp.ones((4, 5, 2)))
    train(once, jnp.ones((4, 5, 2)))


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((0, (3,)), {}, "conv: expected features to be an integer of at least 1, got 0"),
        ((4, ()), {}, r"conv: expected kernel_size to hold 1, 2 or 3 integers, one per spatial axis, got \(\)"),
        ((4, (1, 2, 3, 4)), {}, "conv: expected kernel_size to hold 1, 2 or 3 integers"),
        ((4, (3, 0)), {}, r"conv: expected kernel_size\[1\] to be an integer of at least 1, got 0"),
        ((4, (3,)), {"strides": -1}, "conv: expected strides to be an integer of at least 1, got -1"),
        ((4, (3,)), {"strides": (1, 2)}, r"conv: expected strides to be an integer or 1 of them, got \(1, 2\)"),
        ((4, (3,)), {"dilation": 0}, "conv: expected dilation to be an integer of at least 1, got 0"),
        ((4, (3,)), {"groups": 3}, "conv: expected groups to divide features, got groups 3 and features 4"),
        ((4, (3,)), {"lowering": "fast"}, "conv: expected lowering to be 'auto', 'xla' or 'matmul', got 'fast'"),
        ((4, (3, 3)), {"padding": "CAUSAL"}, r"padding 'CAUSAL' with one spatial axis, got kernel_size \(3, 3\)"),
        ((4, (3,)), {"padding": "same"}, "conv: expected padding to be 'SAME', 'VALID' or 1 pairs"),
        ((4, (3,)), {"padding": ((1, -1),)}, "conv: expected padding to be 'SAME', 'VALID' or 1 pairs"),
        ((4, (3,)), {"padding": ((1, 1), (1, 1))}, "conv: expected padding to be 'SAME', 'VALID' or 1 pairs"),
    ],
)
def test_bad_settings_are_refused(arguments: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(layers.conv)(*arguments, **settings)


def test_examples_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"conv: expected an example shape \(\*spatial, channels\) with 2 spatial"):
        layers.conv(4, (3, 3)).init(jax.random.key(0), (8, 3))
    with pytest.raises(ValueError, match="groups to divide the input's channels, got groups 2 and channels 3"):
        layers.conv(4, (3,), groups=2).init(jax.random.key(0), (8, 3))
    with pytest.raises(ValueError, match=r"conv: expected spatial axes that, padded, hold a window of \(5,\)"):
        layers.conv(4, (3,), dilation=2, padding="VALID").init(jax.random.key(0), (4, 3))
    with pytest.raises(ValueError, match="conv_transpose: expected spatial axes and padding that leave an output"):
        layers.conv_transpose(4, (3,), padding=((0, 0),)).init(jax.random.key(0), (2, 3))


@pytest.mark.parametrize("make", [layers.conv, layers.conv_transpose])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (jnp.ones((2, 8, 3), jnp.int32), TypeError, r"expected floating-point inputs, got int32\[2,8,3\]"),
        (jnp.ones((2, 8, 4)), ValueError, r"expected inputs \[\*batch, \*spatial, 3\] with 1 spatial axes, got float"),
        (jnp.ones((3,)), ValueError, r"expected inputs \[\*batch, \*spatial, 3\] with 1 spatial axes, got float"),
        (jnp.ones((2, 0, 3)), ValueError, "with 1 spatial axes, none empty"),
    ],
)
def test_bad_inputs_are_refused(make: Any, x: jax.Array, error: type, message: str) -> None:
    layer = make(4, (3,))
    params, state = layer.init(jax.random.key(0), (8, 3))
    with pytest.raises(error, match=message):
        inspect.unwrap(layer.apply)(params, state, x)


def test_one_number_is_the_size_along_both_axes_of_an_image() -> None:
    x = jnp.asarray(RNG.normal(size=(2, 6, 5, 3)), jnp.float32)
    pairs = [
        (layers.conv(4, 3), layers.conv(4, (3, 3))),
        (layers.conv_transpose(4, 2, strides=2), layers.conv_transpose(4, (2, 2), strides=2)),
        (layers.max_pool(2), layers.max_pool((2, 2))),
        (layers.average_pool(3, strides=1), layers.average_pool((3, 3), strides=1)),
    ]
    for short, long in pairs:
        params, _ = long.init(jax.random.key(0), x.shape[1:])
        chex.assert_trees_all_equal(short.init(jax.random.key(0), x.shape[1:])[0], params)
        np.testing.assert_array_equal(short.apply(params, {}, x)[0], long.apply(params, {}, x)[0])
