"""Activations against jax.nn, torch, closed forms in float64 and laws."""

import inspect
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from dlkit import activations

# The formulas of the papers, in Python's double precision.
CLOSED_FORMS: dict[str, Callable[[float], float]] = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "relu_squared": lambda x: max(x, 0.0) ** 2,
    "leaky_relu": lambda x: x if x >= 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "celu": lambda x: max(x, 0.0) + min(math.expm1(min(x, 0.0)), 0.0),
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2.0)),
    "silu": lambda x: x / (1.0 + math.exp(-x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
    "log_sigmoid": lambda x: -math.log1p(math.exp(-x)),
    "hard_sigmoid": lambda x: min(max(x + 3.0, 0.0), 6.0) / 6.0,
    "hard_silu": lambda x: x * min(max(x + 3.0, 0.0), 6.0) / 6.0,
    "tanh": math.tanh,
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "softsign": lambda x: x / (1.0 + abs(x)),
    "squareplus": lambda x: (x + math.sqrt(x * x + 4.0)) / 2.0,
}


def nearest_on_the_simplex(x: np.ndarray) -> np.ndarray:
    """By bisection for the threshold at which max(x - threshold, 0) sums to 1."""
    low, high = x.max(-1, keepdims=True) - 1.0, x.max(-1, keepdims=True)
    for _ in range(80):
        middle = (low + high) / 2
        above = np.maximum(x - middle, 0.0).sum(-1, keepdims=True) > 1.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.maximum(x - low, 0.0)


# Along the last axis of one array, in NumPy's double precision.
AXIS_FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
    "glu": lambda x: x[..., : x.shape[-1] // 2] / (1.0 + np.exp(-x[..., x.shape[-1] // 2 :])),
    "swiglu": lambda x: (
        x[..., : x.shape[-1] // 2] / (1.0 + np.exp(-x[..., : x.shape[-1] // 2])) * x[..., x.shape[-1] // 2 :]
    ),
    "geglu": lambda x: (
        x[..., : x.shape[-1] // 2] * scipy.special.ndtr(x[..., : x.shape[-1] // 2]) * x[..., x.shape[-1] // 2 :]
    ),
    "sparsemax": nearest_on_the_simplex,
}
# Away from the kinks, where a finite difference is a derivative.
POINTS = np.array([-30.1, -7.3, -2.9, -1.1, -0.4, 0.3, 0.9, 2.7, 5.5, 20.2])
REFERENCES = {
    "softsign": jax.nn.soft_sign,
    "relu_squared": lambda x: jnp.where(x > 0, x * x, 0),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "tanh": jnp.tanh,
}


def test_every_name_has_a_formula() -> None:
    assert {*CLOSED_FORMS, *AXIS_FORMS} == set(activations.NAMES)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_values_follow_the_formula(name: str) -> None:
    expected = [CLOSED_FORMS[name](float(x)) for x in POINTS]
    actual = activations.get(name)(jnp.asarray(POINTS, jnp.float32))
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-7)


@pytest.mark.long
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_gradients_follow_the_formula(name: str) -> None:
    formula, step = CLOSED_FORMS[name], 1e-5
    expected = [(formula(float(x) + step) - formula(float(x) - step)) / (2 * step) for x in POINTS]
    with jax.enable_x64(True):
        actual = jax.vmap(jax.grad(activations.get(name)))(jnp.asarray(POINTS))
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_agrees_with_jax(name: str) -> None:
    x = jnp.linspace(-6.0, 6.0, 25)
    reference = REFERENCES.get(name) or getattr(jax.nn, name)
    np.testing.assert_allclose(activations.get(name)(x), reference(x), rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (activations.softmax, jax.nn.softmax),
        (activations.log_softmax, jax.nn.log_softmax),
        (activations.glu, jax.nn.glu),
        (activations.swiglu, lambda x: jax.nn.silu(x[..., :3]) * x[..., 3:]),
        (lambda x: activations.prelu(x, jnp.float32(0.3)), lambda x: jax.nn.leaky_relu(x, 0.3)),
    ],
    ids=["softmax", "log_softmax", "glu", "swiglu", "prelu"],
)
def test_agrees_with_jax_along_an_axis(
    function: Callable[[jax.Array], jax.Array], reference: Callable[[jax.Array], jax.Array]
) -> None:
    x = jnp.asarray(np.random.default_rng(7).normal(0.0, 3.0, (4, 6)), jnp.float32)
    np.testing.assert_allclose(function(x), reference(x), rtol=1e-5, atol=1e-6)
    slopes = [jax.grad(lambda x, each=each: jnp.square(each(x)).sum())(x) for each in (function, reference)]
    np.testing.assert_allclose(*slopes, rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", AXIS_FORMS)
def test_values_and_gradients_along_an_axis_follow_the_formula(name: str) -> None:
    formula, x = AXIS_FORMS[name], np.random.default_rng(0).normal(0.0, 3.0, (2, 6))
    weights = np.random.default_rng(1).normal(size=formula(x).shape)
    np.testing.assert_allclose(activations.get(name)(jnp.asarray(x, jnp.float32)), formula(x), rtol=2e-5)
    shifts, step = np.eye(x.size).reshape(x.size, *x.shape), 1e-5
    slopes = [((formula(x + step * e) - formula(x - step * e)) * weights).sum() / (2 * step) for e in shifts]
    with jax.enable_x64(True):
        gradient = jax.grad(lambda x: (activations.get(name)(x) * weights).sum())(jnp.asarray(x))
    np.testing.assert_allclose(gradient.ravel(), slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.long
@pytest.mark.parametrize("name", AXIS_FORMS)
@pytest.mark.parametrize("axis", [0, 1, -2])
def test_the_axis_may_be_chosen(name: str, axis: int) -> None:
    function, x = activations.get(name), jnp.asarray(np.random.default_rng(2).normal(size=(4, 6, 2)), jnp.float32)
    moved = jnp.moveaxis(function(jnp.moveaxis(x, axis, -1)), -1, axis)
    np.testing.assert_allclose(function(x, axis=axis), moved, rtol=1e-6)


@pytest.mark.long
def test_softmax_at_the_ends_of_the_range() -> None:
    extreme = jnp.array([[3.2e38, -3.2e38, 0.0], [-3.2e38, -3.2e38, -3.2e38], [-jnp.inf, 1.0, 1.0]])
    third = [1 / 3] * 3
    np.testing.assert_allclose(activations.softmax(extreme), [[1, 0, 0], third, [0, 0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(activations.log_softmax(extreme[1]), np.log(third), rtol=1e-6)
    assert np.isfinite(jax.jacobian(activations.softmax)(extreme)).all()
    # The documented case: nothing is possible, so there are no probabilities.
    assert np.isnan(activations.softmax(jnp.full(3, -jnp.inf))).all()
    assert np.isnan(activations.log_softmax(jnp.full(3, -jnp.inf))).all()


@pytest.mark.parametrize("shape", [(7,), (3, 40), (2, 1)])
def test_sparsemax_is_the_projection_on_the_simplex(shape: tuple[int, ...]) -> None:
    x = jnp.asarray(np.random.default_rng(5).normal(size=shape), jnp.float32)
    found = activations.sparsemax(x)
    expected = [optax.projections.projection_simplex(row) for row in x.reshape(-1, shape[-1])]
    np.testing.assert_allclose(found.reshape(-1, shape[-1]), expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), np.ones(shape[:-1]), rtol=1e-6)
    assert (found == 0).any() or shape[-1] == 1


def test_sparsemax_at_the_ends_of_the_range() -> None:
    extreme = jnp.array([[3.2e38, -3.2e38, 0.0], [-3.2e38, -3.2e38, -jnp.inf], [0.5, 0.5, -0.5]])
    np.testing.assert_array_equal(activations.sparsemax(extreme), [[1, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0]])
    assert np.isnan(activations.sparsemax(jnp.full(3, -jnp.inf))).all()


def test_softmax_of_half_precision_is_that_of_single_precision_rounded() -> None:
    x = jnp.asarray(np.random.default_rng(3).normal(0.0, 2.0, (5, 300)), jnp.bfloat16)
    exact = scipy.special.softmax(np.asarray(x, np.float64), axis=-1)
    np.testing.assert_allclose(np.asarray(activations.softmax(x), np.float64), exact, rtol=2**-8)
    exact = scipy.special.log_softmax(np.asarray(x, np.float64), axis=-1)
    np.testing.assert_allclose(np.asarray(activations.log_softmax(x), np.float64), exact, rtol=2**-8)


def test_the_gates_agree_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    x = np.random.default_rng(4).normal(size=(3, 8)).astype(np.float32)
    expected = torch.nn.functional.glu(torch.tensor(x)).numpy()
    np.testing.assert_allclose(activations.glu(jnp.asarray(x)), expected, rtol=1e-5)
    gated = torch.nn.functional.silu(torch.tensor(x[:, :4])) * torch.tensor(x[:, 4:])
    np.testing.assert_allclose(activations.swiglu(jnp.asarray(x)), gated.numpy(), rtol=1e-5)


def test_which_half_is_the_gate() -> None:
    closed = jnp.array([-1000.0, 7.0])
    assert activations.swiglu(closed) == 0.0 and activations.glu(closed[::-1]) == 0.0
    opened = jnp.array([1000.0, 7.0])
    assert activations.swiglu(opened) == 7000.0 and activations.glu(opened[::-1]) == 7.0


@pytest.mark.parametrize("name", ["glu", "swiglu", "geglu"])
def test_an_odd_axis_cannot_be_halved(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected an even size along axis -1, got float32\[2,5\]"):
        activations.get(name)(jnp.ones((2, 5)))


@pytest.mark.parametrize("name", AXIS_FORMS)
def test_an_axis_must_exist_and_hold_floating_point_numbers(name: str) -> None:
    function = inspect.unwrap(activations.get(name))
    with pytest.raises(ValueError, match=rf"^{name}: expected x with an axis -1, got float32\[\]"):
        function(jnp.ones(()))
    with pytest.raises(ValueError, match=rf"^{name}: expected x with an axis 2, got float32\[2,4\]"):
        function(jnp.ones((2, 4)), axis=2)
    with pytest.raises(TypeError, match=rf"^{name}: expected floating-point x, got int32"):
        function(jnp.ones(4, jnp.int32))


@pytest.mark.parametrize("slopes", [0.25, [0.1, -0.5, 2.0]])
def test_prelu_agrees_with_torch_also_in_the_gradients(slopes: float | list[float]) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    x = np.random.default_rng(5).normal(size=(7, 3)).astype(np.float32)
    weights = np.random.default_rng(6).normal(size=x.shape).astype(np.float32)
    torch_x, torch_slope = torch.tensor(x, requires_grad=True), torch.tensor(slopes, requires_grad=True)
    (torch.nn.functional.prelu(torch_x, torch_slope) * torch.tensor(weights)).sum().backward()

    def loss(x: jax.Array, slope: jax.Array) -> jax.Array:
        return (activations.prelu(x, slope) * weights).sum()

    for_x, for_slope = jax.grad(loss, argnums=(0, 1))(jnp.asarray(x), jnp.asarray(slopes))
    np.testing.assert_allclose(for_x, torch_x.grad.numpy(), rtol=1e-5)
    np.testing.assert_allclose(for_slope, torch_slope.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_prelu_keeps_the_dtype_of_x_and_adds_up_the_slopes_gradient_in_its_own() -> None:
    # In bfloat16, 256 + 1 = 256: a gradient added up in it would be too small.
    x = jnp.full((1000, 2), -1.0, jnp.bfloat16)
    assert activations.prelu(x, jnp.full(2, 0.5)).dtype == jnp.bfloat16
    gradient = jax.grad(lambda slope: activations.prelu(x, slope).astype(jnp.float32).sum())(jnp.full(2, 0.5))
    np.testing.assert_array_equal(gradient, [-1000.0, -1000.0])
    assert activations.prelu(jnp.array(-2.0), 0.5) == -1.0


@pytest.mark.parametrize(
    ("x", "slope"),
    [((2, 3), (2,)), ((3,), (1,)), ((2, 3), (2, 3)), ((), (1,))],
    ids=["fewer", "one", "two axes", "scalar"],
)
def test_prelu_wants_one_slope_or_one_per_channel(x: tuple[int, ...], slope: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^prelu: expected one negative_slope, or one per channel, .* got float32"):
        inspect.unwrap(activations.prelu)(jnp.ones(x), jnp.ones(slope))


def test_gelu_is_exact_by_default_and_approximate_on_request() -> None:
    x = jnp.linspace(-5.0, 5.0, 101)
    exact, approximate = activations.gelu(x), activations.gelu(x, approximate=True)
    np.testing.assert_allclose(approximate, jax.nn.gelu(x, approximate=True), rtol=1e-5, atol=1e-6)
    assert 1e-4 < np.abs(exact - approximate).max() < 5e-4


def test_squareplus_keeps_its_precision_where_the_formula_cancels() -> None:
    # y = b / (4 |x|) to first order for x << 0; the textbook formula gives 0 there, and inf at 1e30.
    np.testing.assert_allclose(activations.squareplus(jnp.array([-1e6, 1e30])), [1e-6, 1e30], rtol=1e-6)
    assert jax.grad(activations.squareplus)(jnp.array(0.0)) == 0.5


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "squareplus", "softsign", "hard_silu", "softplus", "tanh"])
def test_values_and_slopes_at_infinity_are_the_limits(name: str) -> None:
    slopes = {"softsign": (0.0, 0.0), "tanh": (0.0, 0.0)}.get(name, (0.0, 1.0))
    values = {"softsign": (-1.0, 1.0), "tanh": (-1.0, 1.0)}.get(name, (0.0, math.inf))
    for dtype in ("float32", "bfloat16"):
        ends = jnp.asarray([-math.inf, math.inf], dtype)
        got, slope = jax.vmap(jax.value_and_grad(activations.get(name)))(ends)
        assert (got.dtype, tuple(got.tolist()), tuple(slope.tolist())) == (ends.dtype, values, slopes)
    assert np.isnan(activations.get(name)(jnp.array(math.nan)))


def test_the_approximate_gelu_and_any_squareplus_have_limits_too() -> None:
    ends = jnp.array([-math.inf, math.inf])
    assert activations.gelu(ends, approximate=True).tolist() == [0.0, math.inf]
    assert activations.squareplus(ends, b=0.1).tolist() == [0.0, math.inf]


@pytest.mark.parametrize(
    ("function", "setting", "x", "expected"),
    [
        (activations.leaky_relu, "negative_slope", -2.0, -0.4),
        (activations.elu, "alpha", -1.0, 0.2 * math.expm1(-1.0)),
        (activations.celu, "alpha", -1.0, 0.2 * math.expm1(-5.0)),
        (activations.squareplus, "b", 0.0, math.sqrt(0.2) / 2.0),
    ],
)
def test_settings_may_be_traced(function: Callable[..., jax.Array], setting: str, x: float, expected: float) -> None:
    traced = jax.jit(lambda x, value: function(x, **{setting: value}))
    assert traced(jnp.array(x), jnp.float32(0.2)) == pytest.approx(expected, rel=1e-6)
    assert traced(jnp.array(x, jnp.bfloat16), jnp.float32(0.2)).dtype == jnp.bfloat16


def test_relu_has_gradient_zero_at_zero() -> None:
    assert jax.grad(activations.relu)(jnp.array(0.0)) == 0.0


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_bounds(x: float) -> None:
    array = jnp.float32(x)
    assert 0.0 <= activations.sigmoid(array) <= 1.0
    assert 0.0 <= activations.hard_sigmoid(array) <= 1.0
    assert -1.0 <= activations.softsign(array) <= 1.0
    assert activations.softplus(array) >= max(x, 0.0) and activations.squareplus(array) >= max(x, 0.0)
    assert activations.tanh(-array) == -activations.tanh(array)


def test_names_are_the_public_functions() -> None:
    functions = [name for name in activations.__all__ if inspect.isfunction(inspect.unwrap(getattr(activations, name)))]
    assert sorted(activations.NAMES) == sorted(set(functions) - {"get", "prelu", "gumbel_softmax"})
    assert all(activations.get(name) is getattr(activations, name) for name in activations.NAMES)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown activation 'reluu'; did you mean 'relu'\?"):
        activations.get("reluu")
    with pytest.raises(ValueError, match="known: identity, relu"):
        activations.get("xyz")


def test_prelu_by_name_is_a_layer() -> None:
    with pytest.raises(ValueError, match=r"'prelu' learns its slope, so it is a layer: use layers\.prelu\(\)"):
        activations.get("prelu")


def test_gumbel_softmax_is_the_softmax_of_noisy_logits() -> None:
    x, key = jnp.asarray(np.random.default_rng(6).normal(size=(3, 5)), jnp.float32), jax.random.key(0)
    noisy = np.asarray(x, np.float64) + np.asarray(jax.random.gumbel(key, x.shape), np.float64)
    for axis in (0, -1):
        found = activations.gumbel_softmax(x, key=key, temperature=0.3, axis=axis)
        np.testing.assert_allclose(found, scipy.special.softmax(noisy / 0.3, axis=axis), rtol=1e-4, atol=1e-7)


def test_hard_gumbel_softmax_draws_classes_with_the_gradient_of_the_soft_one() -> None:
    x = jnp.array([2.0, 0.0, 1.0, -jnp.inf])
    draws = activations.gumbel_softmax(jnp.broadcast_to(x, (20_000, 4)), key=jax.random.key(1), hard=True)
    assert set(np.unique(draws)) == {0.0, 1.0}
    expected = scipy.special.softmax(np.asarray(x, np.float64))
    # Five standard errors of a binomial share.
    np.testing.assert_allclose(draws.mean(0), expected, atol=5 * 0.5 / math.sqrt(20_000))
    slopes = [
        jax.grad(lambda x, hard=hard: activations.gumbel_softmax(x, key=jax.random.key(2), hard=hard)[0])(x[:3])
        for hard in (True, False)
    ]
    np.testing.assert_allclose(*slopes, rtol=1e-6)
    with pytest.raises(ValueError, match=r"^gumbel_softmax: expected temperature above 0, got 0"):
        activations.gumbel_softmax(x, key=jax.random.key(0), temperature=0)
    with pytest.raises(ValueError, match=r"call activations\.gumbel_softmax"):
        activations.get("gumbel_softmax")
