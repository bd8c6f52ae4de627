"""Layers in layers: side inputs, shared parameters, copies in loops, what is inside. Expected values are by hand."""

import pickle
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import activations, layers, models
from dlkit.layers import Layer

KEY = jax.random.key(0)
X = jnp.linspace(-1.0, 1.0, 24).reshape(2, 3, 4)


def added() -> Layer:
    """A layer of a user's own that takes a side input."""

    def apply(
        params: Any, state: Any, x: jax.Array, *, key: Any = None, train: bool = False, offset: Any = None
    ) -> tuple[jax.Array, Any]:
        if offset is None:
            raise ValueError("added: expected an offset")
        return x + offset, state

    return Layer(lambda key, input_shape: ({}, {}), apply)


def counter() -> Layer:
    """Counts its calls in training."""
    return Layer(
        init=lambda key, input_shape: ({}, {"count": jnp.zeros(())}),
        apply=lambda params, state, x, *, key=None, train=False: (x, {"count": state["count"] + train}),
    )


# --- side inputs -----------------------------------------------------------------------------------------------------


def test_a_side_input_reaches_the_layers_that_take_it_at_any_depth() -> None:
    deep = layers.serial(
        first=jnp.tanh,
        around=layers.residual(layers.remat(layers.serial(layers.repeat(added(), 3), added()))),
        aside=layers.parallel(added(), jnp.negative, combine=sum),
    )
    assert deep.side_inputs == {"lengths", "offset"}
    params, state = deep.init(KEY, (3, 4), offset=(3, 4))
    y, _ = deep.apply(params, state, X, offset=X)
    # h = tanh(x); h + (h + 4 x); (that + x) - that = x
    np.testing.assert_allclose(y, X, rtol=1e-5, atol=1e-6)


def test_a_side_input_that_nobody_takes_is_refused_by_name() -> None:
    chain = layers.serial(added(), jnp.tanh)
    with pytest.raises(TypeError, match="serial: no layer in it takes 'ofset'; did you mean 'offset'"):
        chain.apply({}, {}, X, ofset=X)
    with pytest.raises(TypeError, match="no layer in it takes 'mask'"):
        chain.init(KEY, (3, 4), mask=(3, 4))


def test_a_layer_that_needs_a_side_input_needs_its_shape_in_init() -> None:
    chain = layers.serial(added(), layers.dense(2))
    assert chain.init(KEY, (4,), offset=(4,))[0]["layer_1"]["kernel"].shape == (4, 2)
    with pytest.raises(ValueError, match="expected an offset"):
        chain.init(KEY, (4,))


def test_self_and_cross_attention_in_one_chain_have_masks_of_their_own() -> None:
    cross = layers.multi_head_attention(2, context_features=5)
    decoder = layers.serial(
        own=layers.multi_head_attention(2, causal=True),
        cross=layers.renamed(cross, mask="context_mask", lengths="context_lengths"),
    )
    assert decoder.side_inputs == {"mask", "bias", "lengths", "context", "context_mask", "context_lengths"}
    params, state = decoder.init(KEY, (3, 4), context=(6, 5))
    context = jnp.linspace(0.0, 1.0, 60).reshape(2, 6, 5)
    counts = jnp.array([6, 2])
    y, _ = decoder.apply(params, state, X, context=context, context_lengths=counts, lengths=jnp.array([3, 3]))
    hidden, _ = layers.multi_head_attention(2, causal=True).apply(params["own"], {}, X)
    expected, _ = cross.apply(params["cross"], {}, hidden, context=context, lengths=counts)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_names_that_a_layer_does_not_take_cannot_be_renamed() -> None:
    with pytest.raises(ValueError, match="renamed: expected side inputs that the layer takes, offset, got 'mask'"):
        layers.renamed(added(), mask="other")
    with pytest.raises(ValueError, match="renamed: expected different names, got bias, lengths, lengths, mask"):
        layers.renamed(layers.multi_head_attention(2, context_features=4), context="lengths")


# --- names -----------------------------------------------------------------------------------------------------------


def test_layers_are_named_where_they_stand() -> None:
    named = layers.serial(stem=layers.dense(3), act=jnp.tanh, head=layers.dense(2))
    listed = layers.serial(layers.dense(3), jnp.tanh, layers.dense(2), names=("stem", "act", "head"))
    assert named == listed
    chex.assert_trees_all_equal(named.init(KEY, (4,)), listed.init(KEY, (4,)))
    assert list(layers.parallel(layers.dense(1), b=layers.dense(1)).init(KEY, (4,))[0]) == ["layer_0", "b"]
    with pytest.raises(ValueError, match=r"serial: expected layers by name or names=..., got both"):
        layers.serial(jnp.tanh, names=("a",), b=jnp.tanh)


# --- shared parameters -----------------------------------------------------------------------------------------------


def test_a_shared_layer_has_its_parameters_once_and_their_gradients_add_up() -> None:
    twice = layers.shared(layers.dense(4))
    chain = layers.serial(first=twice, middle=layers.serial(jnp.tanh, layers.residual(twice)))
    params, state = chain.init(KEY, (4,))
    assert jax.tree.map(jnp.shape, params) == {"first": {"kernel": (4, 4), "bias": (4,)}}
    chex.assert_trees_all_equal(params["first"], layers.dense(4).init(jax.random.fold_in(KEY, 0), (4,))[0])

    def by_hand(params: Any) -> jax.Array:
        def linear(x: jax.Array) -> jax.Array:
            return x @ params["first"]["kernel"] + params["first"]["bias"].reshape(1, 1, 4)

        h = jnp.tanh(linear(X))
        return jnp.sum(jnp.sin(h + linear(h)))

    def loss(params: Any) -> jax.Array:
        return jnp.sum(jnp.sin(chain.apply(params, state, X)[0]))

    chex.assert_trees_all_close(jax.value_and_grad(loss)(params), jax.value_and_grad(by_hand)(params), rtol=1e-5)


def test_a_layer_that_is_used_twice_without_being_shared_has_parameters_for_each_place() -> None:
    one = layers.dense(4)
    assert set(layers.serial(a=one, b=one).init(KEY, (4,))[0]) == {"a", "b"}


def test_the_state_of_a_shared_layer_goes_on_from_place_to_place() -> None:
    counted = layers.shared(counter())
    chain = layers.serial(a=layers.serial(inner=counted), b=jnp.tanh, c=layers.residual(counted), d=counted)
    params, state = chain.init(KEY, (4,))
    assert state == {"a": {"inner": {"count": 0.0}}}
    assert chain.apply(params, state, X, train=True)[1] == {"a": {"inner": {"count": 3.0}}}


def test_a_layer_shared_inside_and_outside_of_a_loop_is_refused() -> None:
    twice = layers.shared(layers.dense(4))
    with pytest.raises(ValueError, match="stands inside and outside of a layer that stacks"):
        layers.serial(a=twice, b=layers.repeat(twice, 2))
    with pytest.raises(ValueError, match="stands inside and outside of a layer that stacks"):
        layers.serial(b=layers.repeat(twice, 2), a=twice)
    inside = layers.repeat(layers.serial(a=twice, b=twice), 2)
    assert jax.tree.map(jnp.shape, inside.init(KEY, (4,))[0]) == {"a": {"kernel": (2, 4, 4), "bias": (2, 4)}}


@pytest.mark.parametrize("model", ["transformer", "gru"])
def test_a_language_model_whose_embedding_is_tied(model: str) -> None:
    made = (
        models.transformer_language_model(vocabulary=7, features=4, heads=2, depth=1, tied=True)
        if model == "transformer"
        else models.recurrent_language_model("gru", vocabulary=7, features=4, tied=True)
    )
    params, state = made.init(KEY, (3,))
    assert "output" not in params
    tokens = jnp.array([[1, 2, 6]])
    y, _, inside = layers.capture(made, params, state, tokens)
    before = inside["normalization" if model == "transformer" else "dropout"]
    np.testing.assert_allclose(y, before @ params["embedding"]["embedding"].T, rtol=1e-5, atol=1e-6)


# --- copies ----------------------------------------------------------------------------------------------------------


def test_repeat_is_a_chain_of_copies_with_the_same_bits_and_noise() -> None:
    block = layers.serial(layers.dense(4), jnp.tanh, layers.dropout(0.5), counter())
    loop, chain = layers.repeat(layers.remat(block), 3), layers.serial(block, block, block)
    (params, state), (own, own_state) = loop.init(KEY, (4,)), chain.init(KEY, (4,))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(own[f"layer_{i}"] for i in range(3)))
    chex.assert_trees_all_equal(params, stacked)
    noise = jax.random.key(5)

    def loss(layer: Layer, params: Any, state: Any) -> Any:
        y, state = layer.apply(params, state, X, key=noise, train=True)
        return jnp.sum(jnp.sin(y)), state

    (value, after), gradient = jax.value_and_grad(lambda p: loss(loop, p, state), has_aux=True)(params)
    (expected, _), by_copy = jax.value_and_grad(lambda p: loss(chain, p, own_state), has_aux=True)(own)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    chex.assert_trees_all_close(
        gradient, jax.tree.map(lambda *leaves: jnp.stack(leaves), *by_copy.values()), rtol=1e-4, atol=1e-6
    )
    assert after["layer_3"]["count"].tolist() == [1.0, 1.0, 1.0]


def test_repeat_traces_its_layer_once_whatever_the_depth() -> None:
    sizes = []
    for depth in (2, 40):
        loop = layers.repeat(layers.dense(4), depth)
        params, state = jax.eval_shape(lambda loop=loop: loop.init(KEY, (4,)))
        sizes.append(len(str(jax.make_jaxpr(layers.evaluate(loop))(params, state, X)).splitlines()))
    assert sizes[0] == sizes[1]


def test_repeat_begins_in_the_dtype_that_its_parameters_promote_to() -> None:
    loop = layers.repeat(layers.dense(4), 2)
    params, state = loop.init(KEY, (4,))
    assert loop.apply(params, state, X.astype(jnp.bfloat16))[0].dtype == jnp.float32


def test_what_cannot_be_repeated_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keeps the shape of its input, \(4,\), got one that makes \(3,\)"):
        layers.repeat(layers.dense(3), 2).init(KEY, (4,))
    with pytest.raises(ValueError, match="repeat: expected depth to be an integer of at least 1, got 0"):
        layers.repeat(layers.dense(3), 0)


def test_an_ensemble_is_its_members_side_by_side() -> None:
    inner = layers.serial(layers.dense(3), counter())
    both = layers.ensemble(inner, 2)
    params, state = both.init(KEY, (4,))
    y, after = both.apply(params, state, X, train=True)
    for member in range(2):
        own, own_state = inner.init(jax.random.fold_in(KEY, member), (4,))
        chex.assert_trees_all_equal(jax.tree.map(lambda leaf, member=member: leaf[member], params), own)
        np.testing.assert_allclose(y[:, :, member], inner.apply(own, own_state, X)[0], rtol=1e-6)
    assert y.shape == (2, 3, 2, 3)
    assert after["layer_1"]["count"].tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="ensemble: expected a negative axis"):
        layers.ensemble(inner, 2, axis=0)


def test_remat_recomputes_and_changes_no_value() -> None:
    inner = layers.serial(layers.dense(4), jnp.sin, jnp.exp)
    params, state = inner.init(KEY, (4,))
    outer = layers.remat(inner)

    def gradient(layer: Layer) -> Any:
        return jax.value_and_grad(lambda params: layers.evaluate(layer)(params, state, X).sum())(params)

    chex.assert_trees_all_close(gradient(outer), gradient(inner), rtol=1e-6)
    exponentials = [
        str(jax.make_jaxpr(lambda layer=layer: gradient(layer))()).count("= exp ") for layer in (inner, outer)
    ]
    assert exponentials[1] == exponentials[0] + 1


# --- plain functions -------------------------------------------------------------------------------------------------


def test_plain_functions_survive_the_transformations_of_jax() -> None:
    model = layers.serial(layers.dense(4), layers.dropout(0.5), layers.batch_norm())
    params, state = model.init(KEY, (4,))
    rows = X.reshape(6, 4)
    evaluate, train = layers.evaluate(model), layers.train(model)
    expected, _ = model.apply(params, state, rows, train=False)
    np.testing.assert_allclose(jax.jit(evaluate)(params, state, rows), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(evaluate, in_axes=(None, None, 0))(params, state, rows), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.checkpoint(evaluate)(params, state, rows), expected, rtol=1e-5)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (params, state, rows))
    exported = jax.export.export(jax.jit(evaluate))(*shapes)
    np.testing.assert_allclose(exported.call(params, state, rows), expected, rtol=1e-5)
    chex.assert_trees_all_close(
        jax.jit(train)(params, state, rows, KEY),
        model.apply(params, state, rows, key=KEY, train=True),
        rtol=1e-5,
        atol=1e-6,
    )
    assert layers.evaluate(layers.dense(4)) == layers.evaluate(layers.dense(4)) != layers.train(layers.dense(4))


# --- inside ----------------------------------------------------------------------------------------------------------


def test_capture_gives_the_outputs_of_layers_inside_also_under_jit_and_in_loops() -> None:
    model = layers.serial(
        stem=layers.dense(4), body=layers.repeat(layers.serial(lin=layers.dense(4), act=jnp.tanh), 2), n=counter()
    )
    params, state = model.init(KEY, (4,))

    @jax.jit
    def captured(params: Any, state: Any, x: jax.Array) -> Any:
        return layers.capture(model, params, state, x, paths=("stem", "body/*"), train=True)

    y, after, found = captured(params, state, X)
    chex.assert_trees_all_close((y, after), model.apply(params, state, X, train=True), rtol=1e-5)
    assert set(found) == {"stem", "body/lin", "body/act"}
    h, body = found["stem"], params["body"]["lin"]
    for copy in range(2):
        z = h @ body["kernel"][copy] + body["bias"][copy].reshape(1, 1, 4)
        np.testing.assert_allclose(found["body/lin"][copy], z, rtol=1e-5, atol=1e-6)
        h = jnp.tanh(z)
        np.testing.assert_allclose(found["body/act"][copy], h, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"capture: expected a pattern that matches the path.*did you mean 'stem'"):
        layers.capture(model, params, state, X, paths="stm")


def test_capture_knows_the_places_of_a_shared_layer_apart() -> None:
    twice = layers.shared(layers.serial(add=lambda x: x + 1.0, n=counter()))
    model = layers.serial(a=twice, b=twice)
    params, state = model.init(KEY, (4,))
    _, after, found = layers.capture(model, params, state, jnp.zeros((1, 4)), paths="*/add", train=True)
    assert {path: output[0, 0].item() for path, output in found.items()} == {"a/add": 1.0, "b/add": 2.0}
    assert after == {"a": {"n": {"count": 2.0}}}


def test_a_layer_inside_is_replaced_and_the_rest_keeps_its_parameters() -> None:
    model = models.mlp((8, 8, 3))
    other = layers.replaced(model, "output/dense", layers.dense(5))
    params, other_params = model.init(KEY, (4,))[0], other.init(KEY, (4,))[0]
    assert other_params["output"]["dense"]["kernel"].shape == (8, 5)
    chex.assert_trees_all_equal(params["hidden_1"], other_params["hidden_1"])
    with pytest.raises(ValueError, match="replaced: no layer inside is at 'outputs/dense'"):
        layers.replaced(model, "outputs/dense", layers.dense(5))


# --- graphs ----------------------------------------------------------------------------------------------------------


def test_a_graph_is_its_function_of_its_layers() -> None:
    def wired(inside: Any, x: jax.Array, source: jax.Array) -> jax.Array:
        h = inside.down(x)
        attended = inside.cross(inside.up(h), context=inside.encoder(source))
        return inside.up(jnp.tanh(h)) + attended

    cross = layers.multi_head_attention(2, context_features=5)
    model = layers.graph(wired, down=layers.dense(2), up=layers.dense(4), encoder=layers.dense(5), cross=cross)
    params, state = model.init(KEY, (3, 4), source=(6, 3))
    assert {name: params[name]["kernel"].shape for name in ("down", "up", "encoder")} == {
        "down": (4, 2),
        "up": (2, 4),
        "encoder": (3, 5),
    }
    assert set(params["cross"]) == {"query", "key", "value", "output"}
    source = jnp.linspace(0.0, 1.0, 36).reshape(2, 6, 3)

    def linear(name: str, x: jax.Array) -> jax.Array:
        return x @ params[name]["kernel"] + params[name]["bias"].reshape(1, 1, -1)

    h = linear("down", X)
    attended, _ = cross.apply(params["cross"], {}, linear("up", h), context=linear("encoder", source))
    np.testing.assert_allclose(
        model.apply(params, state, X, source=source)[0], linear("up", jnp.tanh(h)) + attended, rtol=1e-5, atol=1e-6
    )


def test_a_graph_names_the_layer_that_is_not_there() -> None:
    model = layers.graph(lambda inside, x: inside.dwn(x), down=layers.dense(2))
    with pytest.raises(AttributeError, match="graph: no layer is called 'dwn'; did you mean 'down'"):
        model.init(KEY, (4,))


def test_a_graph_of_sequences_says_where_lengths_change() -> None:
    strided = layers.conv(4, (2,), strides=2, padding="VALID")
    lengths = jnp.array([3, 1])
    model = layers.graph(lambda inside, x: inside.down(x), down=strided)
    params, state = model.init(KEY, (3, 4))
    with pytest.raises(ValueError, match="graph: layer 'down' changes the lengths"):
        model.apply(params, state, X, lengths=lengths)
    kept = layers.graph(lambda inside, x: x + inside.own(x), own=layers.multi_head_attention(2))
    params, state = kept.init(KEY, (3, 4))
    y, _ = kept.apply(params, state, X.at[1, 1:].set(jnp.nan), lengths=lengths)
    np.testing.assert_allclose(y[1, :1], kept.apply(params, state, X[1, :1])[0], rtol=1e-5, atol=1e-6)
    assert y[1, 1:].tolist() == [[0.0] * 4] * 2


# --- what layers are -------------------------------------------------------------------------------------------------


def test_a_layer_is_the_call_that_made_it() -> None:
    assert repr(layers.dense(3)) == "dense(3)"
    assert repr(layers.dense(features=3, use_bias=False)) == "dense(3, use_bias=False)"
    model = layers.serial(layers.conv(4, (3,)), act=activations.relu, around=layers.residual(layers.dense(4)))
    assert repr(model) == ("serial(\n    conv(4, (3,)),\n    act=relu,\n    around=residual(dense(4)),\n)")
    assert list(model.sublayers) == ["layer_0", "act", "around", "around/branch", "around/shortcut"]
    assert model.sublayers["around/branch"] == layers.dense(4)


def test_layers_are_equal_if_one_call_makes_them() -> None:
    assert layers.dense(3) == layers.dense(features=3) != layers.dense(4)
    assert layers.dense(3) != layers.dense(3, use_bias=False)
    assert layers.serial(layers.dense(3), jnp.tanh) == layers.serial(layers.dense(3), jnp.tanh)
    assert layers.serial(layers.dense(3), jnp.tanh) != layers.serial(layers.dense(3), jnp.sin)
    assert len({layers.dense(3), layers.dense(3), layers.dense(4)}) == 2
    assert layers.shared(layers.dense(3)) != layers.shared(layers.dense(3))
    changed = layers.dense(3)._replace(init=layers.dense(4).init)
    assert changed != layers.dense(3)
    assert layers.dropout(jnp.float32(0.5)) == layers.dropout(jnp.float32(0.5)) != layers.dropout(jnp.float32(0.4))


def test_layers_survive_pickle() -> None:
    tokens = layers.shared(layers.embedding(7, 4))
    model = layers.serial(
        tokens=tokens, body=layers.repeat(layers.transformer_block(2), 2), logits=layers.unembedding(tokens),
        input_dtype=jnp.int32,
    )  # fmt: skip
    again = pickle.loads(pickle.dumps(model))
    chex.assert_trees_all_equal(model.init(KEY, (3,)), again.init(KEY, (3,)))
    assert pickle.loads(pickle.dumps(layers.dense(3))) == layers.dense(3)
    cloudpickle = pytest.importorskip("cloudpickle")
    inner = layers.serial(lambda x: 2.0 * x, layers.dense(3))
    other = cloudpickle.loads(cloudpickle.dumps(inner))
    chex.assert_trees_all_equal(inner.init(KEY, (4,)), other.init(KEY, (4,)))


def test_a_summary_counts_parameters_and_operations() -> None:
    deep = layers.repeat(layers.dense(24), 5)
    model = layers.serial(conv=layers.conv(6, (3, 3)), act=activations.relu, flat=layers.flatten(3), deep=deep)
    rows = {row.path: row for row in layers.summary(model, (2, 2, 3)).rows}
    assert (rows["conv"].parameters, rows["conv"].operations) == (3 * 3 * 3 * 6 + 6, 2 * 2 * 2 * 6 * 3 * 3 * 3)
    assert (rows["deep"].parameters, rows["deep"].operations) == (5 * (24 * 24 + 24), 5 * 2 * 24 * 24)
    assert (rows["act"].parameters, rows["act"].operations) == (0, 0)
    assert rows[""].parameters == rows["conv"].parameters + rows["deep"].parameters
    assert rows[""].operations == rows["conv"].operations + rows["deep"].operations
    assert rows["conv"].output.shape == (2, 2, 6)
    html = layers.summary(layers.serial(lambda x: x), (2,))._repr_html_()
    assert html.count("<tr>") == 3
    assert "&lt;lambda&gt;" in html
    assert "<lambda>" not in html
