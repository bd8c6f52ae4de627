"""The hash of a traced program: which functions have the same, which have not, and what it cannot see."""

import dataclasses
import enum
import functools
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import linear_call
from jax.experimental import io_callback

from dlkit.bench.identity.programs import forget_traces, hash_program

ROOT = Path(__file__).parents[3]
VECTOR = jax.ShapeDtypeStruct((4,), jnp.float32)
NUMBER = jax.ShapeDtypeStruct((), jnp.int32)
KEY = jax.eval_shape(lambda: jax.random.key(0))
ONES, TWOS = np.ones(4, np.float32), np.full(4, 2, np.float32)


def digest(function, *arguments, rules=0):
    found = hash_program(function, *(arguments or (VECTOR,)), rules=rules)
    assert found.unhashable == ()
    return found.digest


def loop(body, *starts, length=3):
    """What a scan of this body reaches, and its outputs."""
    return jax.lax.scan(lambda carry, _: body(carry), starts, None, length=length)


@jax.custom_jvp
def doubled(x):
    return x * 2


doubled.defjvp(lambda points, directions: (doubled(*points), directions[0] * 2))


@jax.custom_vjp
def reversed_gradient(x):
    return x * 2


reversed_gradient.defvjp(lambda x: (x * 2, None), lambda _, gradient: (-gradient,))


def independent(x):
    first = jnp.sin(x)
    second = jnp.cos(x)
    return first - second


def independent_in_another_order(y):
    one = jnp.cos(y)
    other = jnp.sin(y)
    return other - one


def with_dead_code(x):
    jnp.tanh(x) @ jnp.ones(4)
    return independent(x)


SAME = {
    "names and order": (independent, independent_in_another_order),
    "dead code": (independent, with_dead_code),
    "jit": (jax.jit(independent), independent),
    "jit in jit": (jax.jit(lambda x: jax.jit(jnp.sin, inline=True)(x) + 1), lambda x: jnp.sin(x) + 1),
    "undifferentiated checkpoint": (jax.checkpoint(independent), independent),
    "custom_jvp": (doubled, lambda x: x * 2),
    "custom_vjp": (reversed_gradient, lambda x: x * 2),
    "name": (lambda x: checkpoint_name(x, "a") * 2, lambda x: checkpoint_name(x, "b") * 2),
    "name and none": (lambda x: checkpoint_name(x, "a") * 2, lambda x: x * 2),
    "named scope": (jax.named_scope("here")(independent), independent),
    "copies": (lambda x: jnp.array(x) * 2, lambda x: jax.device_put(x) * 2),
    "conversion to its own type": (lambda x: jax.lax.convert_element_type(x, jnp.float32) * 2, lambda x: x * 2),
    "weak type": (lambda x: x * jnp.float32(2), lambda x: x * 2.0),
    "constants of NumPy and JAX": (lambda x: x * ONES, lambda x: x * jnp.asarray(ONES)),
    "numbers on the left": (lambda x: 2.0 * (1.0 + x), lambda x: (x + 1.0) * 2.0),
    "gradients of factors": (
        jax.grad(lambda x: jnp.tanh(x).sum() + 0.1 * jnp.square(x).sum()),
        jax.grad(lambda x: jnp.tanh(x).sum() + jnp.square(x).sum() * 0.1),
    ),
    "default precision": (lambda x: jnp.dot(x, x, precision="default"), lambda x: x @ x),
    "shapes": (
        lambda x: x[:, None] * x[None],
        lambda x: x.reshape(2, 2).reshape(4, 1) * x[None, None].sum((0, 1))[None],
    ),
    "gradients of shapes": (
        jax.grad(lambda x: jnp.sin(x[:, None] * ONES[None]).sum()),
        jax.grad(lambda x: jnp.sin(x.reshape(-1, 1) * ONES[None]).sum()),
    ),
    "order of a dictionary": (lambda x: {"a": x, "b": x * 2}, lambda x: {"b": x * 2, "a": x}),
    "a stopped gradient": (lambda x: jax.lax.stop_gradient(x) * 2, lambda x: x * 2),
    "order in a loop": (
        lambda x: loop(lambda c: ((c[0] * ONES + c[0] * TWOS,), None), x),
        lambda x: loop(lambda c: (((c[0] * TWOS, c[0] * ONES)[::-1][0] + c[0] * TWOS,), None), x),
    ),
    "an output of a loop that nobody uses": (
        lambda x: loop(lambda c: ((jnp.sin(c[0]),), c[0].sum()), x)[0],
        lambda x: loop(lambda c: ((jnp.sin(c[0]),), None), x)[0],
    ),
    "order in a branch": (
        lambda i, x: jax.lax.cond(i > 0, lambda x: x * ONES + x * TWOS, lambda x: x, x),
        lambda i, x: jax.lax.cond(i > 0, lambda x: [x * TWOS, x * ONES][1] + x * TWOS, lambda x: x, x),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_programs_that_compute_the_same_have_the_same_hash(name):
    first, second = SAME[name]
    arguments = (NUMBER, VECTOR) if "branch" in name else (VECTOR,)
    assert digest(first, *arguments) == digest(second, *arguments)


def inner_loops(read):
    """Two loops, one in the other: what the inner one reads is its own carry, or the outer one's."""

    def outer(carry, _):
        def inner(own, _):
            return read(carry, own), None

        return jax.lax.scan(inner, carry, None, length=2)[0], None

    return lambda x: jax.lax.scan(outer, x, None, length=2)[0]


def written(*steps):
    """A program that writes to a mutable array before a branch reads it."""

    def function(i, x):
        ref = jax.new_ref(x)
        for step in steps:
            ref[0] = step
        return jax.lax.cond(i > 0, lambda: ref[0], lambda: ref[1])

    return function


def nan(bits):
    return np.array(bits, np.uint32).view(np.float32)


DIFFERENT = {
    "operation": [jnp.sin, jnp.cos],
    "operands": [lambda x: x - x[::-1], lambda x: x[::-1] - x, lambda x: x + x[::-1], lambda x: x[::-1] + x],
    "operands with a number": [lambda x: x - 2.0, lambda x: 2.0 - x, lambda x: x / 2.0, lambda x: 2.0 / x],
    "shapes": [
        lambda x: x,
        lambda x: x[:, None],
        lambda x: x[None],
        lambda x: x.reshape(2, 2),
        lambda x: x.reshape(2, 2).T.reshape(4),
        lambda x: jnp.broadcast_to(x[:1], (4,)),
        lambda x: x[:1],
        lambda x: x.sum(keepdims=True),
        lambda x: x.reshape(2, 2).sum(0),
        lambda x: x.reshape(2, 2).sum(1),
        lambda x: x.reshape(2, 2)[:, :, None].sum(1),
    ],
    "constant": [lambda x: x * 2.0, lambda x: x * 2.0000002, lambda x: x * -0.0, lambda x: x * 0.0],
    "bits of a constant": [
        lambda x: x * np.array([1, 1, 1, 1], np.float32),
        lambda x: x * np.array([1, 1, 1, 1.0000001], np.float32),
        lambda x: x * np.array([0, 0, 0, -0.0], np.float32),
        lambda x: x * np.zeros(4, np.float32),
        lambda x: x * nan(0x7FC00000),
        lambda x: x * nan(0x7FC00001),
    ],
    "shape of a constant": [lambda x: ONES, lambda x: ONES[:, None], lambda x: ONES[None], lambda x: ONES[:3]],
    "type of a constant": [lambda x: ONES, lambda x: ONES.astype(np.int32), lambda x: ONES.astype(jnp.bfloat16)],
    "key": [
        lambda x: jax.random.normal(jax.random.key(0), (4,)),
        lambda x: jax.random.normal(jax.random.key(1), (4,)),
        lambda x: jax.random.normal(jax.random.key(0, impl="rbg"), (4,)),
    ],
    "axis": [lambda x: x[None].sum(0), lambda x: x[None].sum(1), lambda x: x[None].sum((0, 1))],
    "output names": [lambda x: {"a": x}, lambda x: {"b": x}, lambda x: x],
    "which output": [lambda x: (x, x * 2), lambda x: (x * 2, x)],
    "length of a loop": [
        lambda x: loop(lambda c: ((c[0] * 2,), None), x, length=2),
        lambda x: loop(lambda c: ((c[0] * 2,), None), x, length=3),
    ],
    "body of a loop": [
        lambda x: loop(lambda c: ((c[0] * 2, c[1]), None), x, x),
        lambda x: loop(lambda c: ((c[0], c[1] * 2), None), x, x),
        lambda x: loop(lambda c: ((c[1] * 2, c[0]), None), x, x),
    ],
    "what a loop starts from": [
        lambda x: loop(lambda c: ((c[0] * 2,), None), ONES),
        lambda x: loop(lambda c: ((c[0] * 2,), None), TWOS),
    ],
    "what an inner loop reads": [
        inner_loops(lambda outer, own: own * 2),
        inner_loops(lambda outer, own: outer * 2),
        inner_loops(lambda outer, own: outer * own),
    ],
    "until when": [
        lambda x: jax.lax.while_loop(lambda c: c.sum() < 3, lambda c: c + 1, x),
        lambda x: jax.lax.while_loop(lambda c: c.sum() < 4, lambda c: c + 1, x),
        lambda x: jax.lax.while_loop(lambda c: c.sum() < 3, lambda c: c + 2, x),
        lambda x: jax.lax.while_loop(lambda c: c.sum() < 3, lambda c: c + ONES, x),
        lambda x: jax.lax.while_loop(lambda c: c.sum() < 3, lambda c: c + TWOS, x),
    ],
    "branches": [
        lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
        lambda x: jax.lax.cond(x[0] > 0, jnp.cos, jnp.sin, x),
        lambda x: jax.lax.cond(x[1] > 0, jnp.sin, jnp.cos, x),
    ],
    "differentiated checkpoint": [
        jax.grad(lambda x: jnp.sin(jnp.sin(x)).sum()),
        jax.grad(jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)).sum())),
    ],
    "order of what is written": [
        lambda x: written(1.0, 2.0)(x[0], x),
        lambda x: written(2.0, 1.0)(x[0], x),
        lambda x: written(2.0)(x[0], x),
    ],
    "what is printed": [
        lambda x: jax.debug.print("a {x}", x=x),
        lambda x: jax.debug.print("b {x}", x=x),
        lambda x: [jax.debug.print("a {x}", x=x), jax.debug.print("b {x}", x=x)][2:],
        lambda x: [jax.debug.print("b {x}", x=x), jax.debug.print("a {x}", x=x)][2:],
        lambda x: jax.debug.print("a {x}", x=x, ordered=True),
    ],
    "generator of random numbers": [
        lambda x: jax.random.normal(jax.random.wrap_key_data(x[:2].astype(jnp.uint32)), (4,)),
        jax.threefry_partitionable(False)(
            lambda x: jax.random.normal(jax.random.wrap_key_data(x[:2].astype(jnp.uint32)), (4,))
        ),
    ],
    "solvers": [
        lambda x: jax.lax.custom_root(lambda y: y * y - x[0], 1.0, lambda f, y: f(y), lambda g, y: y / g(1.0)),
        lambda x: jax.lax.custom_root(lambda y: y * y - x[1], 1.0, lambda f, y: f(y), lambda g, y: y / g(1.0)),
        lambda x: jax.scipy.sparse.linalg.cg(lambda y: y * 2, x)[0],
        lambda x: jax.scipy.sparse.linalg.cg(lambda y: y * 3, x)[0],
    ],
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_programs_that_compute_something_else_have_another_hash(name):
    forget_traces()  # threefry's configuration is not part of what JAX remembers a key's trace by
    found = [digest(function) for function in DIFFERENT[name]]
    assert len({*found}) == len(found)
    assert [digest(function) for function in DIFFERENT[name]] == found


def test_shapes_types_and_names_of_inputs_count():
    inputs = [
        VECTOR,
        (VECTOR,),
        {"a": VECTOR},
        {"b": VECTOR},
        (VECTOR, VECTOR),
        jax.ShapeDtypeStruct((3,), jnp.float32),
        jax.ShapeDtypeStruct((4,), jnp.int32),
        KEY,
        NUMBER,
    ]
    assert len({digest(lambda x: 0, each) for each in inputs}) == len(inputs)
    assert digest(lambda x: x["b"], {"a": VECTOR, "b": VECTOR}) == digest(lambda x: x["b"], {"b": VECTOR, "a": VECTOR})
    assert digest(lambda x: x["b"], {"a": VECTOR, "b": VECTOR}) != digest(lambda x: x["a"], {"a": VECTOR, "b": VECTOR})


# --- derivative rules ------------------------------------------------------------------------------------------------


def with_rule(kind, factor, nested=1.0):
    """A function whose gradient is not that of its value."""

    @jax.custom_jvp
    def inner(x):
        return jnp.sin(x)

    inner.defjvp(lambda points, directions: (inner(*points), directions[0] * nested))
    if kind == "jvp":
        outer = jax.custom_jvp(lambda x, count: x * count)
        outer.defjvp(lambda points, directions: (outer(*points), inner(points[0]) * directions[0] * factor))
    else:
        outer = jax.custom_vjp(lambda x, count: x * count)
        outer.defvjp(
            lambda x, count: (x * count, x),
            lambda x, gradient: (inner(x) * gradient * factor, np.zeros((), jax.float0)),
        )
    return lambda x: outer(x, 3).sum()


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_derivative_rules_count_where_they_are_asked_for_or_used(kind):
    first, second = with_rule(kind, 2.0), with_rule(kind, 3.0)
    assert digest(first) == digest(second)
    assert digest(first, rules=1) != digest(second, rules=1) != digest(first)
    assert digest(first, rules=1) == digest(with_rule(kind, 2.0), rules=1)
    assert digest(jax.grad(first)) != digest(jax.grad(second))
    assert digest(jax.jit(first), rules=1) == digest(first, rules=1)
    # The rule of a rule, for curvature:
    assert digest(first, rules=1) == digest(with_rule(kind, 2.0, nested=5.0), rules=1)
    assert digest(first, rules=2) != digest(with_rule(kind, 2.0, nested=5.0), rules=2)
    assert digest(jax.grad(first), rules=1) != digest(jax.grad(with_rule(kind, 2.0, nested=5.0)), rules=1)


def test_what_only_a_rule_uses_counts():
    @jax.custom_jvp
    def function(x, y):
        return x * 2

    function.defjvp(lambda points, directions: (function(*points), points[1] * directions[0]))
    first, second = (lambda x, f=f: function(x, f(x)) for f in (jnp.sin, jnp.cos))
    assert digest(first) == digest(second)
    assert digest(first, rules=1) != digest(second, rules=1)


def test_rules_of_what_a_function_with_its_own_rule_calls_do_not_count():
    def function(factor):
        inner = jax.custom_jvp(jnp.sin)
        inner.defjvp(lambda points, directions: (inner(*points), directions[0] * factor))
        outer = jax.custom_jvp(lambda x: inner(x))
        outer.defjvp(lambda points, directions: (outer(*points), directions[0]))
        return outer

    assert digest(function(2.0), rules=2) == digest(function(3.0), rules=2)


def test_what_has_no_derivative_has_a_hash():
    def function(text):
        def fails(*_):
            raise RuntimeError(text)

        fixed = jax.custom_vjp(jnp.sin)
        fixed.defvjp(fails, fails)
        return fixed

    assert digest(function("a"), rules=1) == digest(function("b"), rules=1) != digest(jnp.sin, rules=1)


def test_a_rule_over_an_axis_that_is_not_there_has_no_hash():
    mesh = jax.make_mesh((1,), ("axis",), axis_types=(jax.sharding.AxisType.Auto,))
    function = jax.custom_jvp(lambda x: x * 2)
    function.defjvp(lambda points, directions: (function(*points), jax.lax.psum(directions[0], "axis")))
    spec = jax.sharding.PartitionSpec()
    mapped = jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec)
    assert hash_program(mapped, VECTOR, rules=1).unhashable
    assert not hash_program(mapped, VECTOR).unhashable


def test_with_rules_a_stopped_gradient_counts():
    assert digest(lambda x: jax.lax.stop_gradient(x) * 2, rules=1) != digest(lambda x: x * 2, rules=1)
    assert digest(jax.grad(lambda x: (jax.lax.stop_gradient(x) * x).sum())) != digest(jax.grad(lambda x: (x * x).sum()))


def transposed_by(factor):
    return jax.jit(lambda x: linear_call(lambda r, y: y * r, lambda r, y: y * (r * factor), 2.0, x).sum())


def test_the_transpose_of_a_linear_function_counts_as_its_derivative():
    first, second = transposed_by(2.0), transposed_by(3.0)
    found = hash_program(first, VECTOR, rules=1)
    assert found == hash_program(transposed_by(2.0), VECTOR, rules=1)
    assert found.hidden == () == found.unhashable, "nothing runs beside the program"
    assert digest(first) == digest(second) == digest(lambda x: (x * 2).sum())
    assert found.digest != digest(second, rules=1)
    assert digest(jax.grad(first)) != digest(jax.grad(second))
    assert digest(first, rules=1) == found.digest, "whatever JAX has remembered by then"


def test_a_rule_that_uses_its_own_function_ends():
    function = jax.custom_jvp(jnp.sin)
    function.defjvp(lambda points, directions: (function(*points), function(points[0]) * directions[0]))
    assert len({digest(function, rules=count) for count in range(4)}) == 4


# --- rules for mapping -----------------------------------------------------------------------------------------------


def mapped_by(rule):
    """A function of two arguments that adds them, unless it is mapped."""
    function = jax.custom_batching.custom_vmap(lambda x, y: x + y)
    function.def_vmap(rule)
    return function


def beside(x, function):
    return function(x, x * 2)


def lane(size, is_batched, value):
    return value if is_batched else jnp.broadcast_to(value, (size, *jnp.shape(value)))


def timed(factor):
    return mapped_by(lambda size, batched, x, y: (lane(size, batched[0], x) * factor + lane(size, batched[1], y), True))


@pytest.mark.parametrize(
    "use",
    [
        beside,
        lambda x, function: function(x, ONES),
        lambda x, function: function(TWOS, x),
        lambda x, function: jax.jit(function)(x, x),
        lambda x, function: loop(lambda carry: ((function(carry[0], ONES),), None), x),
        lambda x, function: jax.jvp(lambda x: function(x, ONES), (x,), (x,)),
        lambda x, function: jax.vmap(mapped_by(lambda size, batched, x, y: (function(x, y), True)))(x, x),
    ],
)
def test_rules_for_mapping_count(use):
    first, second, same = (functools.partial(use, function=timed(factor)) for factor in (2.0, 5.0, 2.0))
    assert digest(first) == digest(same) != digest(second)


def test_how_a_rule_for_mapping_is_written_does_not_count():
    def renamed(n, b, one, other):
        """Another name, in other words."""
        twice = lane(n, b[0], one) * 2.0
        return twice + lane(n, b[1], other), b[0] or b[1]

    assert digest(functools.partial(beside, function=mapped_by(renamed))) == digest(
        functools.partial(beside, function=timed(2.0))
    )


@pytest.mark.parametrize("which", [[True, True], [True, False], [False, True]])
def test_rules_for_some_of_the_inputs_count(which):
    def function(factor):
        def rule(size, batched, x, y):
            return lane(size, batched[0], x) * (factor if batched == which else 1.0) + lane(size, batched[1], y), True

        return mapped_by(rule)

    first, second = (functools.partial(beside, function=function(factor)) for factor in (2.0, 5.0))
    assert digest(first) != digest(second)


@pytest.mark.parametrize("count", [4, 8, 9, 40])
def test_rules_for_some_of_many_inputs_count(count):
    def function(factor):
        def rule(size, batched, *values):
            scale = factor if batched == [False] + [True] * (count - 1) else 1.0
            lanes = [lane(size, *each) for each in zip(batched, values, strict=True)]
            return sum(lanes) * scale, True

        adding = jax.custom_batching.custom_vmap(lambda *values: sum(values))
        adding.def_vmap(rule)
        return lambda x: adding(*(x * index for index in range(1, count + 1)))

    first, second, same = (digest(function(factor)) for factor in (2.0, 5.0, 2.0))
    assert first == same != second


def test_what_depends_on_no_input_is_not_mapped():
    first, second = (lambda x, f=f: x + f(ONES, jnp.arange(4.0)) for f in (timed(2.0), timed(5.0)))
    assert digest(first) == digest(second)


def test_a_rule_for_mapping_that_uses_its_own_function_ends():
    first, second = (jax.custom_batching.sequential_vmap(function) for function in (jnp.sin, jnp.cos))
    assert len({digest(each) for each in (first, second, jnp.sin, jnp.cos)}) == 4


def test_a_rule_for_mapping_that_cannot_be_traced_counts_with_its_code():
    def function(factor):
        def rule(size, batched, x, y):
            if size != 7:
                raise ValueError(size)
            return x * factor + y, True

        return functools.partial(beside, function=mapped_by(rule))

    found = [hash_program(function(factor), VECTOR) for factor in (2.0, 5.0, 2.0)]
    assert found[0] == found[2] != found[1]
    assert found[0].hidden == () == found[0].unhashable


# --- what a program does not show ------------------------------------------------------------------------------------


def called(kind, function):
    if kind == "debug":
        return lambda x: jax.debug.callback(function, x)
    if kind == "io":
        return lambda x: io_callback(function, VECTOR, x, ordered=True)
    return lambda x: jax.pure_callback(function, VECTOR, x, vmap_method="sequential")


def halved(x):
    return x / 2


def thirded(x):
    return x / 3


@pytest.mark.parametrize("kind", ["debug", "io", "pure"])
def test_what_python_computes_counts_with_its_code_and_is_named(kind):
    scaled = [functools.partial(lambda factor, x: x * factor, factor) for factor in (2, 3)]
    functions = [halved, thirded, *scaled, (lambda x: x + 1), (lambda x: x + 2)]
    found = [hash_program(called(kind, function), VECTOR) for function in functions]
    assert len({each.digest for each in found}) == len(functions)
    assert found[0] == hash_program(called(kind, halved), VECTOR)
    assert [each.hidden for each in found[:2]] == [("halved",), ("thirded",)]
    assert all(len(each.hidden) == 1 and "<lambda>" in each.hidden[0] for each in found[2:])
    assert all(each.unhashable == () for each in found)


def test_callbacks_that_are_never_called_are_not_named():
    def function(x):
        called("pure", halved)(x)
        return x

    assert hash_program(function, VECTOR) == hash_program(lambda x: x, VECTOR)
    assert hash_program(lambda x: jax.debug.print("{x}", x=x), VECTOR).hidden == ()  # all of it is in the program


def own_primitive(parameter):
    """A primitive of one's own with a parameter of any kind."""
    from jax.extend.core import Primitive

    primitive = Primitive("own")
    primitive.def_abstract_eval(lambda aval, **_: aval)
    return lambda x: primitive.bind(x, parameter=parameter)


class Opaque:
    pass


@dataclasses.dataclass(frozen=True, eq=False)
class Held:
    """JAX wants parameters that have a hash."""

    value: Any


class Mode(enum.Enum):
    FIRST = enum.auto()
    SECOND = enum.auto()


def test_what_has_no_canonical_form_is_unlike_everything():
    parameter = Opaque()
    first, second = (hash_program(own_primitive(parameter), VECTOR) for _ in range(2))
    assert first.unhashable == second.unhashable == ("Opaque",)
    assert first.digest != second.digest


PARAMETERS = [
    *(None, 0, 1, 1.0, -0.0, 0.0, True, "1", b"1", float("nan"), (), (1,), ((1,), 2), (1, (2,))),
    *(frozenset({"a", "b"}), frozenset({"a"}), {"a": 1}, {"a": 2}, {1: "a"}, Mode.FIRST, Mode.SECOND),
    *(np.dtype("f4"), np.dtype("f8"), jnp.bfloat16, np.zeros(3), np.zeros((3, 1)), np.ones(3), jnp.zeros(3)),
    *(jax.make_jaxpr(jnp.sin)(1.0), jax.make_jaxpr(jnp.cos)(1.0), jax.sharding.PartitionSpec("a")),
    *(jax.sharding.PartitionSpec("b"), types.SimpleNamespace(a=1), types.SimpleNamespace(a=2), 1 + 2j),
]


def test_parameters_of_all_kinds_count():
    def digests():
        return [digest(own_primitive(Held(each))) for each in PARAMETERS]

    found = digests()
    same = [(PARAMETERS[i], PARAMETERS[j]) for i in range(len(found)) for j in range(i) if found[i] == found[j]]
    assert not same
    assert digests() == found
    assert digest(own_primitive(Held({"a": 1, "b": 2}))) == digest(own_primitive(Held({"b": 2, "a": 1})))


# --- what JAX remembers ----------------------------------------------------------------------------------------------

MODULE = """
import jax
FACTOR = 2.0
def scaled(x): return x * FACTOR
jitted = jax.jit(scaled)
kept = jax.checkpoint(scaled)
def body(carry, _): return carry * FACTOR, None
def looped(x): return jax.lax.scan(body, x, None, length=3)[0]
"""


@pytest.mark.parametrize("name", ["scaled", "jitted", "kept", "looped"])
def test_a_constant_that_is_set_anew_is_seen(name):
    module = types.ModuleType("own")
    exec(MODULE, module.__dict__)
    function = getattr(module, name)
    before = digest(function)
    module.FACTOR = 3.0
    if name != "scaled":
        assert digest(function) == before, "JAX has forgotten by itself: forget_traces is not needed any more"
    forget_traces()
    assert digest(function) != before
    module.FACTOR = 2.0
    forget_traces()
    assert digest(function) == before


# --- everywhere the same, and fast -----------------------------------------------------------------------------------

SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import jax, jax.numpy as jnp, numpy as np
from dlkit.bench.identity.programs import hash_program

def act(x): return jnp.where(x > 0, x, jnp.expm1(x))
def layer(x): return jax.jit(act)(x * np.arange(4, dtype=np.float32))
def report(x): print(x)

def function(tree, key):
    x, _ = jax.lax.scan(lambda c, _: (layer(c), c.sum()), tree["b"] + tree["a"], None, length=3)
    jax.debug.callback(report, x)
    noise = jax.random.normal(jax.random.fold_in(key, 3), x.shape)
    return {{"loss": jax.lax.cond(x[0] > 0, jnp.sum, jnp.prod, x + noise), "out": {{"z": x, "y": noise}}}}

vector = jax.ShapeDtypeStruct((4,), jnp.float32)
found = hash_program(function, {{"a": vector, "b": vector}}, jax.eval_shape(lambda: jax.random.key(0)), rules=1)
"""


@pytest.mark.long
def test_the_same_in_every_process(tmp_path):
    names = {}
    exec(SCRIPT, names)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT) + "\nprint(*found)")
    for seed in ("1", "2"):
        process = subprocess.run(
            [sys.executable, tmp_path / "script.py"],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        )
        assert process.stdout.split("\n")[0] == " ".join(map(str, names["found"]))


def test_a_program_of_ten_thousand_operations_is_hashed():
    def chain(steps):
        def function(x):
            for _ in range(steps):
                x = jax.lax.sin(x)
            return x

        return function

    assert digest(chain(10_000)) != digest(chain(9))


def test_calls_in_calls_do_not_recurse_deeply():
    function = jnp.sin
    for _ in range(100):
        function = jax.jit(functools.partial(lambda inner, x: inner(x) + 1, function))
    assert digest(function) == digest(lambda x: functools.reduce(lambda y, _: y + 1, range(100), jnp.sin(x)))
