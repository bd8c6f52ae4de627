"""Recurrent layers: against flax and PyTorch, cut by hand, carried on, and differentiated every way."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax.test_util import check_grads

from dlkit import layers
from dlkit.layers import Layer
from dlkit.layers.recurrent.cells import GRU_CELL, LSTM_CELL, Cell, recurrence, simple_cell
from tests.compiled import compiled

MAKE: dict[str, Callable[..., Layer]] = {"rnn": layers.rnn, "gru": layers.gru, "lstm": layers.lstm}
CELLS = {"rnn": simple_cell(jnp.tanh), "gru": GRU_CELL, "lstm": LSTM_CELL}
GATES = {"rnn": ("",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6, 4)), jnp.float32)
LENGTHS = jnp.array([4, 0, 6])
KEY = jax.random.key(3)
every_cell = pytest.mark.parametrize("name", MAKE)


def filled(layer: Layer, dtype: str = "float32") -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of which none is 0, and the state."""
    params, state = jax.eval_shape(lambda: layer.init(jax.random.key(0), (6, 4)))  # nothing has to be drawn
    if jax.tree.leaves(state):
        _, state = layer.init(jax.random.key(0), (6, 4))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.0, 0.5, leaf.shape), dtype), params), state


def pull_back(apply: Callable[..., jax.Array], *arguments: Any) -> Any:
    """Outputs, and gradients by all arguments."""

    @jax.jit
    def results(*arguments):
        y, vjp = jax.vjp(apply, *arguments)
        return y, vjp(jnp.cos(y))

    return results(*arguments)


def to_flax(name: str, params: dict[str, jax.Array]) -> dict[str, Any]:
    """The parameters of one direction as those of the cell of flax."""
    gates = GATES[name]
    inputs, recurrent, biases = (
        jnp.split(params[part], len(gates), axis=-1) for part in ("input_kernel", "recurrent_kernel", "bias")
    )
    tree: dict[str, Any] = {}
    for place, gate in enumerate(gates):
        tree[f"i{gate}"], tree[f"h{gate}"] = {"kernel": inputs[place]}, {"kernel": recurrent[place]}
        tree[f"{'h' if name == 'lstm' else 'i'}{gate}"]["bias"] = biases[place]
    if name == "gru":
        tree["hn"]["bias"] = params["recurrent_bias"]
    return {"params": {"cell": tree}}


@pytest.mark.long
@every_cell
def test_equals_flax_in_values_and_gradients(name: str) -> None:
    cell = {"rnn": linen.SimpleCell, "gru": linen.GRUCell, "lstm": linen.OptimizedLSTMCell}[name](5)
    reference = linen.RNN(cell)
    layer = MAKE[name](5)
    params, state = filled(layer)
    made = jax.eval_shape(reference.init, KEY, X)
    chex.assert_trees_all_equal_shapes_and_dtypes(to_flax(name, params["layer_0"]["forward"]), dict(made))
    chex.assert_trees_all_close(
        pull_back(lambda params, x: layer.apply(params, state, x)[0], params, X),
        pull_back(lambda params, x: reference.apply(to_flax(name, params["layer_0"]["forward"]), x), params, X),
        rtol=1e-5,
        atol=1e-5,
    )


def to_torch(name: str, params: dict[str, Any], torch: Any) -> Any:
    """A PyTorch module with two layers and two directions, and these parameters."""
    module = getattr(torch.nn, name.upper())(4, 5, num_layers=2, bidirectional=True, batch_first=True)
    tensors = {}
    for place in range(2):
        for direction, suffix in (("forward", ""), ("backward", "_reverse")):
            part = {key: np.asarray(leaf) for key, leaf in params[f"layer_{place}"][direction].items()}
            recurrent_bias = np.zeros_like(part["bias"])
            if name == "gru":
                recurrent_bias[-5:] = part["recurrent_bias"]
            arrays = (part["input_kernel"].T, part["recurrent_kernel"].T, part["bias"], recurrent_bias)
            for kind, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), arrays, strict=True):
                tensors[f"{kind}_l{place}{suffix}"] = torch.tensor(array.copy())
    module.load_state_dict(tensors)
    return module


@every_cell
def test_equals_torch_stacked_in_both_directions_with_lengths(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: no comparison with it")
    layer = MAKE[name](5, depth=2, bidirectional=True)
    params, state = filled(layer)
    lengths = np.array([4, 1, 6])

    def outputs(x):
        return layer.apply(params, state, x, lengths=jnp.asarray(lengths))[0]

    y, (gradient,) = pull_back(outputs, X)
    x = torch.tensor(np.asarray(X), requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    packed_outputs, after = to_torch(name, params, torch)(packed)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_outputs, batch_first=True, total_length=6)
    expected.backward(torch.cos(expected.detach()))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-4, atol=1e-5)
    hidden = (after[0] if name == "lstm" else after).detach().numpy()
    last, _ = MAKE[name](5, depth=2, bidirectional=True, output="last").apply(
        params, state, X, lengths=jnp.asarray(lengths)
    )
    # The upper layer: its last two, forward and backward.
    np.testing.assert_allclose(last, np.concatenate(list(hidden[-2:]), axis=-1), rtol=1e-5, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("output", ["sequence", "last"])
@every_cell
def test_lengths_equal_cutting_the_sequence(name: str, output: str) -> None:
    layer = compiled(MAKE[name](5, depth=2, bidirectional=True, output=output))
    params, state = filled(layer)
    together, _ = layer.apply(params, state, X, lengths=LENGTHS)
    for position, length in ((0, 4), (2, 6)):
        alone, _ = layer.apply(params, state, X[position, :length])
        counted = together[position, :length] if output == "sequence" else together[position]
        np.testing.assert_allclose(counted, alone, rtol=1e-5, atol=1e-5)
    assert not together[1].any()
    if output == "sequence":
        assert not together[0, 4:].any()


@pytest.mark.long
@every_cell
def test_padding_matters_to_nothing_even_if_it_is_nan(name: str) -> None:
    layer = MAKE[name](5, depth=2, bidirectional=True)
    params, state = filled(layer)
    padding = (jnp.arange(6).reshape(1, 6) >= LENGTHS.reshape(3, 1))[..., None]

    def apply(params, x):
        return layer.apply(params, state, x, lengths=LENGTHS)[0]

    results = pull_back(apply, params, jnp.where(padding, jnp.nan, X))
    chex.assert_trees_all_equal(results, pull_back(apply, params, jnp.where(padding, 7.0, X)))
    assert not jnp.where(padding, results[1][1], 0).any()


@pytest.mark.long
@every_cell
def test_a_carried_state_continues_the_sequence(name: str) -> None:
    whole, parts = (compiled(MAKE[name](5, depth=2, **settings)) for settings in ({}, {"carry_batch_shape": (3,)}))
    params, state = filled(parts)
    expected, unchanged = whole.apply(params, {}, X)
    assert unchanged == {}
    outputs = []
    for chunk in (X[:, :1], X[:, 1:4], X[:, 4:]):
        y, next_state = parts.apply(params, state, chunk, train=True)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, next_state)
        state = next_state
        outputs.append(y)
    np.testing.assert_allclose(jnp.concatenate(outputs, axis=1), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(state["layer_1"]["hidden"], expected[:, -1], rtol=1e-5, atol=1e-5)


def test_skipped_steps_keep_the_carried_state() -> None:
    layer = layers.lstm(5, carry_batch_shape=(3,), output="last")
    params, state = filled(layer)
    _, begun = layer.apply(params, state, X)
    _, after = layer.apply(params, begun, X, lengths=LENGTHS)
    _, cut = layer.apply(params, begun, X[:, :4])
    for part in ("hidden", "memory"):
        np.testing.assert_array_equal(after["layer_0"][part][1], begun["layer_0"][part][1])
        np.testing.assert_allclose(after["layer_0"][part][0], cut["layer_0"][part][0], rtol=1e-5, atol=1e-6)


def test_no_gradient_flows_back_through_a_carried_state() -> None:
    layer = layers.gru(5, carry_batch_shape=(3,))
    params, state = filled(layer)
    _, begun = layer.apply(params, state, X)

    def loss(params, state):
        y, after = layer.apply(params, state, X)
        return y.sum() + after["layer_0"]["hidden"].sum()

    by_params, by_state = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, begun)
    assert not by_state["layer_0"]["hidden"].any()
    assert all(leaf.any() for leaf in jax.tree.leaves(by_params))


def test_held_out_examples_in_another_number_start_afresh() -> None:
    layer, fresh = layers.rnn(5, carry_batch_shape=(3,)), layers.rnn(5)
    params, state = filled(layer)
    _, begun = layer.apply(params, state, X)
    y, after = layer.apply(params, begun, X[:2])
    chex.assert_trees_all_equal(after, begun)
    np.testing.assert_array_equal(y, fresh.apply(params, {}, X[:2])[0])


@pytest.mark.long
def test_the_initial_parameters() -> None:
    params, state = compiled(layers.lstm(16, depth=2, bidirectional=True)).init(KEY, (6, 400))
    assert state == {}
    kernels = set()
    for name, features in (("layer_0", 400), ("layer_1", 32)):
        for direction in ("forward", "backward"):
            part = params[name][direction]
            np.testing.assert_array_equal(part["bias"], np.repeat([0.0, 1.0, 0.0, 0.0], 16))
            # LeCun normal: the standard error of a deviation of n numbers is at most 1 / sqrt(2 n) of it.
            size = part["input_kernel"].size
            assert float(part["input_kernel"].std()) == pytest.approx(features**-0.5, rel=5 / (2 * size) ** 0.5)
            for gate in jnp.split(part["recurrent_kernel"], 4, axis=-1):
                np.testing.assert_allclose(gate @ gate.T, jnp.eye(16), atol=1e-5)
                kernels.add(float(gate[0, 0]))
    assert len(kernels) == 16  # every gate, direction and layer its own
    assert layers.lstm(3, forget_bias=0.0).init(KEY, (2, 2))[0]["layer_0"]["forward"]["bias"].tolist() == [0.0] * 12
    assert jax.tree.map(jnp.shape, layers.gru(3).init(KEY, (2, 4))[0]["layer_0"]["forward"]) == {
        "input_kernel": (4, 9),
        "recurrent_kernel": (3, 9),
        "bias": (9,),
        "recurrent_bias": (3,),
    }


@pytest.mark.long
@every_cell
def test_recurrent_dropout_drops_the_same_units_at_every_step(name: str) -> None:
    layer = MAKE[name](5, recurrent_dropout=0.5)
    params, state = filled(layer)
    y, _ = layer.apply(params, state, X, key=KEY, train=True)
    np.testing.assert_array_equal(layer.apply(params, state, X)[0], MAKE[name](5).apply(params, state, X)[0])
    # Step by step: h_t tells which of the 2^5 masks made it out of h_{t-1}, and one mask has to explain all steps.
    masks = 2.0 * jnp.asarray(np.array(np.meshgrid(*[[0, 1]] * 5)).reshape(5, -1).T, jnp.float32)
    run = functools.partial(recurrence, params["layer_0"]["forward"], cell=CELLS[name])
    candidates = jax.vmap(lambda mask: run(X.swapaxes(0, 1), None, mask=jnp.tile(mask, (3, 1)))[0])(masks)
    error = jnp.abs(candidates - y.swapaxes(0, 1)[None]).max(axis=(1, 3))
    assert float(error.min(axis=0).max()) < 1e-5
    assert len(set(error.argmin(axis=0).tolist())) > 1  # every sequence its own


@pytest.mark.long
def test_dropout_acts_between_the_layers_while_training() -> None:
    layer = layers.lstm(50, depth=2, dropout=0.5)
    params, state = layer.init(KEY, (6, 4))
    # A second layer that hands on x_t W_g = 2 x_t, near enough: its gates are open and forget.
    gates = jnp.concatenate([jnp.full(50, 50.0), jnp.full(50, -50.0), jnp.zeros(50), jnp.full(50, 50.0)])
    second = {
        "input_kernel": jnp.concatenate([jnp.zeros((50, 100)), jnp.eye(50), jnp.zeros((50, 50))], axis=-1),
        "recurrent_kernel": jnp.zeros((50, 200)),
        "bias": gates,
    }
    first, _ = layers.lstm(50).apply(params, state, X)
    params = {**params, "layer_1": {"forward": second}}
    y, _ = layer.apply(params, state, X, key=KEY, train=True)
    dropped = np.abs(np.asarray(y)) < 1e-6
    np.testing.assert_allclose(y, np.where(dropped, 0, jnp.tanh(jnp.tanh(2 * first))), rtol=1e-5, atol=1e-5)
    assert dropped.mean() == pytest.approx(0.5, abs=5 * 0.5 / dropped.size**0.5)
    # Not the same at every step: a unit is dropped always or never with probability 2 / 2^6.
    assert (dropped.all(axis=1) | ~dropped.any(axis=1)).mean() < 0.2
    with pytest.raises(ValueError, match="lstm: expected a key while training, got None"):
        layer.apply(params, state, X, train=True)
    layers.lstm(50, dropout=0.5).apply(params, state, X, train=True)  # one layer: nothing is between


def test_the_rates_may_be_traced() -> None:
    def outputs(rate, recurrent_rate):
        layer = layers.gru(5, depth=2, dropout=rate, recurrent_dropout=recurrent_rate)
        params, state = filled(layer)
        return layer.apply(params, state, X, key=KEY, train=True)[0]

    np.testing.assert_allclose(jax.jit(outputs)(0.3, 0.6), outputs(0.3, 0.6), rtol=1e-5, atol=1e-6)


@pytest.mark.long
@every_cell
def test_unrolling_and_jit_change_nothing(name: str) -> None:
    params, state = filled(MAKE[name](5))

    def apply(unroll, params, x):
        return MAKE[name](5, unroll=unroll).apply(params, state, x)[0]

    expected = pull_back(functools.partial(apply, 1), params, X)
    np.testing.assert_allclose(apply(1, params, X), expected[0], rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(expected, pull_back(functools.partial(apply, 4), params, X), rtol=1e-5, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_derivatives_in_both_modes_and_of_second_order(cell: Cell) -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):

        def normal(*shape: int) -> jax.Array:
            return jnp.asarray(rng.normal(0.0, 0.7, shape))

        params = {"input_kernel": normal(2, 3 * cell.gates), "recurrent_kernel": normal(3, 3 * cell.gates)}
        params["bias"] = normal(3 * cell.gates)
        params |= {"recurrent_bias": normal(3)} if cell.candidate_bias else {}
        carry = tuple(normal(2, 3) for _ in cell.parts)
        valid = jnp.array([[True, True], [True, False], [True, True]]).reshape(3, 2, 1)
        mask = jnp.array([[2.0, 0.0, 2.0], [1.0, 1.0, 0.0]])

        def run(params, x, carry):
            return inspect.unwrap(recurrence)(params, x, carry, cell=cell, valid=valid, mask=mask)

        arguments = (params, normal(3, 2, 2), carry)
        check_grads(jax.jit(run), arguments, order=1, modes=("fwd",), rtol=1e-5)
        check_grads(jax.jit(run), arguments, order=2, modes=("rev",), rtol=1e-5)


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_any_number_of_batch_axes(batch: tuple[int, ...]) -> None:
    layer = compiled(layers.lstm(5, bidirectional=True))
    params, state = filled(layer)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(*batch, 6, 4)), jnp.float32)
    lengths = jnp.asarray(np.random.default_rng(2).integers(0, 7, batch))
    y, _ = layer.apply(params, state, x, lengths=lengths)
    assert y.shape == (*batch, 6, 10)
    flat, _ = layer.apply(params, state, x.reshape(-1, 6, 4), lengths=lengths.reshape(-1))
    np.testing.assert_allclose(y.reshape(-1, 6, 10), flat, rtol=1e-5, atol=1e-6)


@pytest.mark.long
@every_cell
def test_half_precision_keeps_its_state_in_float32(name: str) -> None:
    layer = compiled(MAKE[name](5, carry_batch_shape=(3,)))
    half, state = filled(layer, "bfloat16")
    y, after = layer.apply(half, state, X.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16 and {leaf.dtype for leaf in jax.tree.leaves(after)} == {jnp.dtype("float32")}
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    exact, _ = layer.apply(single, state, X.astype(jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=0.05, atol=0.03)


def test_the_activation_of_a_simple_network() -> None:
    # h = relu(x + h): the running sum of positive numbers.
    params = {
        "layer_0": {"forward": {"input_kernel": jnp.eye(4), "recurrent_kernel": jnp.eye(4), "bias": jnp.zeros(4)}}
    }
    for activation in ("relu", jax.nn.relu):
        y, _ = layers.rnn(4, activation=activation).apply(params, {}, jnp.abs(X))
        np.testing.assert_allclose(y, np.cumsum(np.abs(X), axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.lstm(0), "lstm: expected features to be an integer of at least 1, got 0"),
        (lambda: layers.gru(3, depth=0), "gru: expected depth to be an integer of at least 1, got 0"),
        (lambda: layers.rnn(3, unroll=0), "rnn: expected unroll to be an integer of at least 1, got 0"),
        (lambda: layers.gru(3, dropout=1.0), "gru: expected dropout at least 0 and below 1, got 1.0"),
        (lambda: layers.gru(3, recurrent_dropout=-0.1), "gru: expected recurrent_dropout at least 0 and below 1"),
        (lambda: layers.lstm(3, output="first"), "lstm: expected output to be 'sequence' or 'last', got 'first'"),
        (
            lambda: layers.lstm(3, bidirectional=True, carry_batch_shape=(2,)),
            "lstm: expected bidirectional or carry_batch_shape, got both",
        ),
        (
            lambda: layers.lstm(3, carry_batch_shape=(0,)),
            r"lstm: expected carry_batch_shape to be a tuple .* got \(0,\)",
        ),
        (
            lambda: layers.rnn(4, activation="glu"),
            r"rnn: expected an activation that keeps the shape \(1, 4\), got \(1, 2",
        ),
        (lambda: layers.rnn(3, activation="rleu"), "unknown activation 'rleu'; did you mean 'relu'"),
        (lambda: layers.gru(3).init(KEY, (4,)), r"gru: expected an example shape \(time, in_features\), got \(4,\)"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "lengths", "error", "message"),
    [
        (jnp.ones((3, 6, 4), jnp.int32), None, TypeError, r"gru: expected floating-point inputs, got int32\[3,6,4\]"),
        (X[..., :3], None, ValueError, r"gru: expected inputs \[\*batch, time, 4\] .*, got float32\[3,6,3\]"),
        (X[:, :0], None, ValueError, r"gru: expected inputs .* with at least one step, got float32\[3,0,4\]"),
        (X[0, 0], None, ValueError, r"gru: expected inputs \[\*batch, time, 4\] .*, got float32\[4\]"),
        (X, jnp.array([1, 2]), ValueError, r"gru: expected one length per sequence, shape \[3\], got int32\[2\]"),
        (X, jnp.array([1, 2, 7]), ValueError, r"gru: expected lengths in \[0, 6\], got 7 at position \(2,\)"),
        (X, jnp.array([1, -1, 7]), ValueError, r"gru: expected lengths in \[0, 6\], got -1 at position \(1,\)"),
    ],
)
def test_bad_inputs_are_refused(x: jax.Array, lengths: jax.Array | None, error: type[Exception], message: str) -> None:
    layer = layers.gru(5)
    params, state = filled(layer)
    with pytest.raises(error, match=message):
        inspect.unwrap(layer.apply)(params, state, x, lengths=lengths)


def test_a_carried_state_that_does_not_fit_is_refused() -> None:
    layer = layers.gru(5, carry_batch_shape=(3,))
    params, state = filled(layer)
    with pytest.raises(
        ValueError, match=r"gru: expected inputs with the batch axes \(3,\) of the carried state, got \(2"
    ):
        layer.apply(params, state, X[:2], train=True)
    with pytest.raises(ValueError, match="gru: expected the carried state that init made, or the last apply ret"):
        layer.apply(params, {}, X)


def test_lengths_out_of_range_are_clipped_under_jit() -> None:
    layer = layers.lstm(5)
    params, state = filled(layer)
    clipped = jax.jit(lambda lengths: layer.apply(params, state, X, lengths=lengths)[0])(jnp.array([-1, 9, 6]))
    np.testing.assert_allclose(clipped, layer.apply(params, state, X, lengths=jnp.array([0, 6, 6]))[0], atol=1e-6)
