"""Mixed precision against float32, with bounds from rounding, and by the dtypes of what is traced."""

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

from dlkit import layers, losses, models
from dlkit.layers import Precision, with_precision

BFLOAT = Precision()
WIDE = Precision(compute="float32")
HALF_UNIT = 2.0**-8  # the largest relative error of rounding to bfloat16, with 8 bits of significand
RNG = np.random.default_rng(0)


def operations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a jaxpr, also those inside others."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from operations(inner)


def product_dtypes(function: Any, *arguments: Any) -> set[str]:
    """The dtypes of what is multiplied in matrix products and convolutions."""
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return {
        str(each.aval.dtype)
        for equation in operations(jaxpr)
        if equation.primitive.name in ("dot_general", "conv_general_dilated")
        for each in equation.invars
    }


def dtypes(tree: Any) -> set[str]:
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


def test_a_dense_layer_is_as_near_to_float32_as_rounding_allows() -> None:
    layer = layers.dense(32)
    params, _ = layer.init(jax.random.key(0), (256,))
    x = jnp.asarray(RNG.normal(size=(16, 256)), jnp.float32)
    y = with_precision(layer, Precision(output="float32")).apply(params, {}, x)[0]
    kernel, bias = (np.asarray(params[name], np.float64) for name in ("kernel", "bias"))
    exact = np.asarray(x, np.float64) @ kernel + bias
    # Inputs, kernel, the sum of the products, and that with the bias are rounded once each; the products are summed
    # in float32, whose rounding is far below.
    bound = 1.01 * 4 * HALF_UNIT * (np.abs(x) @ np.abs(kernel) + np.abs(bias))
    assert (np.abs(y - exact) <= bound).all()
    assert np.abs(y - exact).max() > 1e-4  # float32 would be within 1e-5


MODELS: dict[str, tuple[layers.Layer, tuple[int, ...], Any]] = {
    "mlp": (models.mlp((8, 8, 3), normalization="layer"), (4,), jnp.float32),
    "cnn": (models.cnn(((4,),), outputs=3, normalization="batch"), (8, 8, 1), jnp.float32),
    "lstm": (models.recurrent_classifier("lstm", outputs=3, features=4), (5, 2), jnp.float32),
    "transformer": (
        models.transformer_language_model(vocabulary=7, features=8, heads=2, depth=1, tied=True),
        (5,),
        jnp.int32,
    ),
    "repeat": (layers.repeat(layers.remat(layers.serial(layers.dense(4), jnp.tanh)), 3), (4,), jnp.float32),
    "ensemble": (layers.ensemble(layers.dense(3), 2), (4,), jnp.float32),
    "weight_norm": (layers.weight_norm(layers.dense(3)), (4,), jnp.float32),
}


@pytest.mark.parametrize("name", MODELS)
def test_products_are_short_and_parameters_gradients_and_outputs_wide(name: str) -> None:
    inner, shape, dtype = MODELS[name]
    model = with_precision(inner, Precision(output="float32"))
    # Traced alone: nothing is compiled.
    params, state = jax.eval_shape(lambda: model.init(jax.random.key(0), shape))
    assert dtypes(params) == {"float32"}
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(lambda: inner.init(jax.random.key(0), shape))[0]
    )

    def apply(params: Any, state: Any) -> Any:
        return model.apply(params, state, jnp.ones((2, *shape), dtype), train=True)

    gradient = jax.grad(lambda params, state: apply(params, state)[0].sum())
    y, after = jax.eval_shape(apply, params, state)
    assert y.dtype == jnp.float32 and dtypes(after) == dtypes(state)
    assert product_dtypes(apply, params, state) == {"bfloat16"}
    assert dtypes(jax.eval_shape(gradient, params, state)) == {"float32"}
    # The logits of attention are float32, for the softmax, and so is their gradient.
    assert product_dtypes(gradient, params, state) <= {"bfloat16", *(["float32"] if name == "transformer" else [])}


@pytest.mark.long
def test_it_works_under_vmap_export_and_checkpoint() -> None:
    model = with_precision(layers.serial(layers.dense(8), jnp.tanh, layers.dense(2)), BFLOAT)
    params, state = model.init(jax.random.key(0), (4,))
    x = jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32)
    function = lambda params, x: model.apply(params, state, x)[0]  # noqa: E731
    expected = function(params, x)
    assert expected.dtype == jnp.float32
    # Equal to a rounding or two: programs may sum in another order.
    close = {"rtol": 0, "atol": 4 * HALF_UNIT * float(jnp.abs(expected).max())}
    np.testing.assert_allclose(jax.vmap(function, (None, 0))(params, x), expected, **close)
    np.testing.assert_allclose(jax.checkpoint(function)(params, x), expected, **close)
    structures = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    exported = export.export(jax.jit(function))(structures, x)
    np.testing.assert_allclose(exported.call(params, x), expected, **close)


def test_outputs_have_the_dtype_of_the_inputs_unless_told() -> None:
    for given, precision, expected in (
        ("float32", BFLOAT, "float32"),
        ("bfloat16", WIDE, "bfloat16"),
        ("float16", Precision(output="float32"), "float32"),
    ):
        model = with_precision(layers.dense(2), precision)
        params, state = model.init(jax.random.key(0), (4,))
        assert model.apply(params, state, jnp.ones((1, 4), given))[0].dtype == expected
    ids = with_precision(layers.embedding(5, 2), BFLOAT)
    params, state = ids.init(jax.random.key(0), ())
    assert ids.apply(params, state, jnp.zeros(3, jnp.int32))[0].dtype == jnp.bfloat16


def test_side_inputs_are_cast_and_masks_are_not() -> None:
    attention = with_precision(layers.multi_head_attention(2, context_features=6), BFLOAT)
    params, state = attention.init(jax.random.key(0), (3, 4), context=(5, 6))
    x, context, mask = jnp.ones((2, 3, 4)), jnp.ones((2, 5, 6)), jnp.ones((1, 3, 5), bool)
    apply = lambda params: attention.apply(params, state, x, context=context, mask=mask)[0]  # noqa: E731
    assert product_dtypes(apply, params) == {"bfloat16"}
    # The softmax is of float32.
    exponentials = [each for each in operations(jax.make_jaxpr(apply)(params).jaxpr) if each.primitive.name == "exp"]
    assert exponentials and {str(each.invars[0].aval.dtype) for each in exponentials} == {"float32"}


@pytest.mark.parametrize("normalization", ["layer", "rms", "batch"])
def test_statistics_are_those_of_float32_far_from_zero(normalization: str) -> None:
    # These numbers are exact in bfloat16, which cannot add eight of them: at 8192 its spacing is 64.
    x = np.float64(1024 + 8 * RNG.integers(0, 16, size=(64, 32)))
    inner = layers.normalization(normalization)
    layer = with_precision(inner, Precision(output="float32"))
    params, state = layer.init(jax.random.key(0), (32,))
    assert (jnp.asarray(x, jnp.bfloat16) == x).all()
    y, after = layer.apply(params, state, jnp.asarray(x, jnp.float32), train=True)
    axis = 0 if normalization == "batch" else -1
    mean = 0.0 if normalization == "rms" else x.mean(axis, keepdims=True)
    expected = (x - mean) / np.sqrt(np.square(x - mean).mean(axis, keepdims=True))
    # One rounding, of the output.
    np.testing.assert_allclose(y, expected, rtol=HALF_UNIT * 1.01, atol=1e-5)
    if normalization == "batch":
        assert dtypes(after) == {"float32"}
        np.testing.assert_allclose(after["batch_mean"], x.mean(0), rtol=1e-6)


def test_a_loss_of_short_logits_is_summed_in_float32() -> None:
    # In bfloat16 256 + 1 = 256, so that a log-sum-exp of 512 equal logits would be log 256.
    logits = jnp.zeros(512, jnp.bfloat16)
    assert float(losses.cross_entropy(logits, jnp.array(0))) == pytest.approx(np.log(512), rel=HALF_UNIT)


def test_a_part_keeps_its_own_precision_and_its_parameters_are_not_rounded() -> None:
    head = with_precision(layers.dense(3), WIDE)
    model = with_precision(layers.serial(body=layers.dense(8), head=head), BFLOAT)
    params, state = model.init(jax.random.key(0), (4,))
    assert product_dtypes(lambda x: model.apply(params, state, x)[0], jnp.ones((1, 4))) == {"bfloat16", "float32"}
    # The head's bias is no bfloat16; the output would be rounded without the last policy.
    bias = 1.0 + 2.0**-12
    exact = with_precision(
        layers.serial(
            body=layers.dense(8), head=with_precision(layers.dense(3), Precision("float32", "float32", "float32"))
        ),
        Precision(output="float32"),
    )
    params = jax.tree.map(jnp.zeros_like, params) | {"head": {"kernel": jnp.zeros((8, 3)), "bias": jnp.full(3, bias)}}
    np.testing.assert_array_equal(exact.apply(params, state, jnp.ones((1, 4)))[0], np.full((1, 3), bias, np.float32))


def test_parts_keep_their_parameters_in_their_own_dtype() -> None:
    small = with_precision(layers.dense(3), Precision(parameters="bfloat16"))
    deep = layers.repeat(layers.serial(wide=layers.dense(3), small=small), 2)
    params, state = with_precision(deep, BFLOAT).init(jax.random.key(0), (3,))
    assert dtypes(params["small"]) == {"bfloat16"} and dtypes(params["wide"]) == {"float32"}
    y, _ = with_precision(deep, BFLOAT).apply(params, state, jnp.ones((2, 3)))
    assert y.shape == (2, 3) and y.dtype == jnp.float32


@pytest.mark.long
def test_training_in_bfloat16_reaches_what_float32_reaches() -> None:
    x = jnp.asarray(RNG.normal(size=(64, 4)), jnp.float32)
    targets = jnp.asarray((x[:, 0] * x[:, 1] > 0).astype(int))
    optimizer = optax.adam(1e-2)

    def final(precision: Precision) -> float:
        model = with_precision(models.mlp((32, 2)), precision)
        params, state = model.init(jax.random.key(0), (4,))

        def loss(params: Any) -> jax.Array:
            return losses.cross_entropy(model.apply(params, state, x)[0], targets).mean()

        def step(carry: Any, _: None) -> Any:
            params, opt_state = carry
            updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        start = params, optimizer.init(params)
        (params, _), _ = jax.jit(lambda start: jax.lax.scan(step, start, None, length=200))(start)
        return float(loss(params))

    short, wide = final(BFLOAT), final(WIDE)
    assert wide < 0.2 and short == pytest.approx(wide, abs=0.03)


def test_equal_precisions_make_equal_layers_and_show_themselves() -> None:
    one, other = with_precision(layers.dense(2), Precision(compute="bfloat16")), with_precision(layers.dense(2), BFLOAT)
    assert one == other and hash(one) == hash(other)
    assert one != with_precision(layers.dense(2), WIDE)
    assert "compute=bfloat16" in repr(one)


def test_what_is_no_precision_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Precision: expected a floating-point dtype for compute, got 'int8'"):
        Precision(compute="int8")
    with pytest.raises(TypeError, match=r"^with_precision: expected a Precision, got str: 'bfloat16'"):
        inspect.unwrap(with_precision)(layers.dense(2), "bfloat16")  # type: ignore[arg-type]
