"""The hash of a traced program: it changes with what is computed, and not with how that is written.

A program is hashed by its data flow. The hash of a value is that of the operation that makes it, of the operation's
parameters and of the hashes of its inputs, so names, the order of independent operations, dead code and the place of a
definition do not count. Constants count with every bit. Python functions that run beside the program count with their
code: see `fingerprints`.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dlkit.bench.identity.parameters import CanonicalForms, code_of, mix, type_of
from dlkit.bench.identity.rules import Untraceable, derivative, mapped, shape_of
from dlkit.bench.identity.tracing import as_trained

__all__ = ["ProgramHash", "forget_traces", "hash_program"]

# Calls that XLA takes apart: the program is the same as with their bodies in their place.
CALLS = {
    "call": "call_jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vmap_call": "call",
    "jit": "jaxpr",
    "linear_call": "callee",
    "pjit": "jaxpr",
    "remat2": "jaxpr",
}
WITH_RULES = frozenset({"call_hi_primitive", "custom_jvp_call", "custom_vjp_call", "linear_call"})
MAPPED = "custom_vmap_call"
EXPANDED = "call_hi_primitive"  # says itself what it is made of
COMMUTATIVE = frozenset({"add", "max", "min", "mul"})  # XLA brings a number to their right
# Where the number of elements stays, XLA makes the same of them all, and one of several in a row.
RESHAPES = frozenset(
    {"broadcast_in_dim", "expand_dims", "reduce_max", "reduce_min", "reduce_prod", "reduce_sum", "reshape", "squeeze"}
)
SAME_VALUE = frozenset({"copy", "name"})  # what they return is their input
# How many inputs and outputs of a scan are of which kind: seen from their shapes, in every version of JAX.
COUNTS_OF_SCAN = frozenset({"ft_in", "ft_out", "jaxpr", "linear", "num_carry", "num_consts"})


class ProgramHash(NamedTuple):
    """What a program is.

    Attributes:
        digest: 16 hexadecimal digits; equal for programs that compute the same, in every process.
        hidden: the names of what runs outside of the program (host callbacks, foreign functions), sorted. Python
            functions among them count with their code, which may not tell all that they do.
        unhashable: what has no canonical form, sorted. With any, the digest is unlike every other.
    """

    digest: str
    hidden: tuple[str, ...] = ()
    unhashable: tuple[str, ...] = ()


def hash_program(function: Callable[..., Any], *arguments: Any, rules: int = 0) -> ProgramHash:
    """Traces a function and returns the hash of the program that comes of it; nothing is computed or compiled.

    The function is traced anew at every call. What it calls through `jax.jit`, `jax.checkpoint` or `jax.lax.scan` JAX
    may remember from before: see `forget_traces`.

    Rules for mapping (`jax.custom_batching.custom_vmap`) count always: trials may run side by side under `jax.vmap`.

    Args:
        function: what is traced.
        *arguments: of the function: trees of arrays or of `jax.ShapeDtypeStruct`, also of keys.
        rules: how many times the program may yet be differentiated: so many orders of the derivative rules of
            `jax.custom_jvp` and `jax.custom_vjp` functions in it count, too. A program that has been differentiated
            already, such as a step, shows the rules of first order; what differentiates it once more needs 1.

    Returns:
        The hash. It counts the names of inputs and outputs in their trees, and their shapes and types.

    Raises:
        Exception: what the function raises while it is traced.
    """
    import jax

    @as_trained()
    def fresh(*given: Any) -> Any:
        return function(*given)

    closed, shapes = jax.make_jaxpr(fresh, return_shape=True)(*arguments)
    reader = _Reader(rules)
    given = [
        mix(b"input", place, type_of(variable.aval))
        for place, variable in zip(_places(arguments), closed.jaxpr.invars, strict=True)
    ]
    results, effects = reader.read(_live(closed.jaxpr), closed.consts, given)
    named = [
        mix(place, type_of(aval), value)
        for place, aval, value in zip(_places(shapes), closed.out_avals, results, strict=True)
    ]
    digest = mix(b"program", *sorted(given), b"to", *sorted(named), effects)
    hidden, unhashable = (tuple(sorted(names)) for names in (reader.forms.hidden, reader.forms.unhashable))
    if unhashable:
        digest = mix(digest, uuid.uuid4().bytes)
    return ProgramHash(digest.hex()[:16], hidden, unhashable)


def forget_traces() -> None:
    """Makes JAX forget what it has traced and compiled in this process.

    It remembers the traces of functions under `jax.jit`, `jax.checkpoint` and control flow by the function alone, and
    shows the old program after a constant that the function uses was set anew.
    """
    import jax

    jax.clear_caches()


class _Reader:
    """Reads a program's equations into hashes, and notes what it cannot see."""

    def __init__(self, orders: int) -> None:
        self.orders = orders  # of derivative rules that still count
        self.is_mapped = False
        self.fixed: set[bytes] = set()  # what depends on no input
        self.forms = CanonicalForms(self.closed)
        self.reshaped: dict[bytes, tuple[bytes, bytes]] = {}  # of what, and from which shape
        self.known: dict[tuple[int, ...], tuple[Any, bytes]] = {}  # with the jaxpr: an id is its only while it lives

    def read(
        self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[bytes], depth: int = 0, effects: bytes = b""
    ) -> tuple[list[bytes], bytes]:
        """Returns the hashes of a jaxpr's outputs, and that of its effects in their order.

        Args:
            jaxpr: the jaxpr.
            consts: the values of its constants.
            inputs: the hashes of its inputs.
            depth: how many loops it stands in.
            effects: what has taken effect before.
        """
        values = {
            variable: self.forms.constant(value, variable.aval)
            for variable, value in zip(jaxpr.constvars, consts, strict=True)
        }
        self.fixed.update(values.values())
        values.update(zip(jaxpr.invars, inputs, strict=True))

        def value_of(atom: Any) -> bytes:
            # A literal is no key of a dictionary.
            if not hasattr(atom, "val"):
                return values[atom]
            found = self.forms.constant(atom.val, atom.aval)
            self.fixed.add(found)
            return found

        for equation in jaxpr.eqns:
            given = [value_of(atom) for atom in equation.invars]
            results, effects = self.equation(equation, given, depth, effects)
            if self.fixed.issuperset(given):
                self.fixed.update(results)
            values.update(zip(equation.outvars, results, strict=True))
        return [value_of(atom) for atom in jaxpr.outvars], effects

    def equation(self, equation: Any, inputs: list[bytes], depth: int, effects: bytes) -> tuple[list[bytes], bytes]:
        """Returns the hashes of an equation's outputs, and that of all effects so far."""
        name, params = equation.primitive.name, equation.params
        if _returns_its_inputs(equation) or (name == "stop_gradient" and not self.orders):
            return inputs, effects
        if (name in CALLS and _is_taken_apart(params)) or name == EXPANDED:
            body, consts = _opened(params[CALLS[name]]) if name in CALLS else _expanded(equation)
            if name == MAPPED and not self.is_mapped:
                with self.side_by_side():  # its own rule stands for those of what it calls
                    results, effects = self.read(body, consts, inputs, depth, effects)
                rule = self.when_mapped(equation, inputs)
                return [mix(b"with rules", result, rule, *inputs) for result in results], effects
            if name not in WITH_RULES or not self.orders:
                return self.read(body, consts, inputs, depth, effects)
            with self.differentiated(self.orders):  # its own rule stands for those of what it calls
                results, effects = self.read(body, consts, inputs, depth, effects)
            rule = self.when_differentiated(equation)
            return [mix(b"with rules", result, rule, *inputs) for result in results], effects
        if name in RESHAPES and _only_reshapes(equation):
            return [self.reshape(equation, inputs[0])], effects
        if name in COMMUTATIVE and hasattr(equation.invars[0], "val"):
            inputs = sorted(inputs) if hasattr(equation.invars[1], "val") else inputs[::-1]
        if name == "cond":
            return self.cond(equation, inputs, depth, effects)
        if name == "scan":
            parts = self.scan(equation, inputs, depth)
        elif name == "while":
            parts = self.loop(equation, inputs, depth)
        else:
            parts = [self.forms.parameters(name, params), *inputs]
        before = effects if equation.effects else b""
        found = mix(name.encode(), *parts, _context(equation), before)
        results = [mix(found, b"%d" % index, type_of(variable.aval)) for index, variable in enumerate(equation.outvars)]
        return results, found if equation.effects else effects

    def reshape(self, equation: Any, value: bytes) -> bytes:
        """The elements of the first value in a row of reshapes, in another shape."""
        before, after = (type_of(variable.aval) for variable in (*equation.invars, *equation.outvars))
        source, shape = self.reshaped.get(value, (value, before))
        if shape == after:
            return source
        found = mix(b"reshape", source, after)
        self.reshaped[found] = (source, shape)
        return found

    def cond(self, equation: Any, inputs: list[bytes], depth: int, effects: bytes) -> tuple[list[bytes], bytes]:
        """An output depends on the index and on what each branch returns for it."""
        branches = [self.read(*_opened(branch), inputs[1:], depth, effects) for branch in equation.params["branches"]]
        rest = {name: value for name, value in equation.params.items() if name != "branches"}
        shared = mix(b"cond", self.forms.parameters("cond", rest), inputs[0])
        results = [mix(shared, *each) for each in zip(*(outputs for outputs, _ in branches), strict=True)]
        if equation.effects:
            effects = mix(shared, *(after for _, after in branches))
        return results, effects

    def scan(self, equation: Any, inputs: list[bytes], depth: int) -> list[bytes]:
        """Constants count where the body uses them, the others by their position among carries and sequences."""
        body, consts = _opened(equation.params["jaxpr"])
        carries = sum(
            outer.aval.shape == inner.aval.shape for outer, inner in zip(equation.outvars, body.outvars, strict=True)
        )
        sequences = sum(
            outer.aval.shape != inner.aval.shape for outer, inner in zip(equation.invars, body.invars, strict=True)
        )
        first = len(inputs) - carries - sequences
        bound = [*inputs[:first], *_inputs_of(body.invars[first:], depth)]
        outputs, effects = self.read(body, consts, bound, depth + 1)
        rest = {name: value for name, value in equation.params.items() if name not in COUNTS_OF_SCAN}
        return [self.forms.parameters("scan", rest), b"%d" % carries, *outputs, effects, b"of", *inputs[first:]]

    def loop(self, equation: Any, inputs: list[bytes], depth: int) -> list[bytes]:
        """As `scan`, for both functions of a while loop."""
        params = equation.params
        test, body = (_opened(params[name]) for name in ("cond_jaxpr", "body_jaxpr"))
        of_test, of_body = params["cond_nconsts"], params["body_nconsts"]
        carries = inputs[of_test + of_body :]
        named = _inputs_of(body[0].invars[of_body:], depth)
        until, first = self.read(*test, [*inputs[:of_test], *named], depth + 1)
        outputs, second = self.read(*body, [*inputs[of_test : of_test + of_body], *named], depth + 1)
        return [*until, first, b"do", *outputs, second, b"of", *carries]

    def when_differentiated(self, equation: Any) -> bytes:
        """The hash of a call and its derivative."""
        try:
            found = derivative(equation)
        except Untraceable as error:
            return self.forms.no_form(f"a derivative rule ({error})")
        with self.differentiated(1):
            return b"" if found is None else self.alone(found)

    def when_mapped(self, equation: Any, inputs: Sequence[bytes]) -> bytes:
        """The hash of a call that is mapped, as trials that run side by side are."""
        try:
            found, is_whole = mapped(equation, [value in self.fixed for value in inputs])
        except Untraceable as error:
            return self.forms.no_form(f"a rule of a mapped function ({error})")
        with self.side_by_side():
            hashes = [self.alone(each) for each in found]
        if not is_whole:
            hashes.append(code_of(equation.params["rule"]))
        return mix(*hashes)

    def alone(self, found: Any) -> bytes:
        """The hash of the program of a rule, or of what it raises."""
        if isinstance(found, str):
            return f"{found} in a rule".encode()
        results, effects = self.read(_live(found.jaxpr), found.consts, _inputs_of(found.jaxpr.invars, 0))
        return mix(*results, effects)

    @contextlib.contextmanager
    def differentiated(self, orders: int) -> Iterator[None]:
        """Reads what has been differentiated so many times already."""
        self.orders -= orders
        yield
        self.orders += orders

    @contextlib.contextmanager
    def side_by_side(self) -> Iterator[None]:
        """Reads what is mapped already: trials are once."""
        before, self.is_mapped = self.is_mapped, True
        yield
        self.is_mapped = before

    def closed(self, value: Any) -> bytes:
        """The hash of a jaxpr by itself, which may stand in many equations."""
        jaxpr, consts = _opened(value)
        key = (self.orders, self.is_mapped, id(jaxpr), *map(id, consts))
        if key not in self.known:
            given = jaxpr
            if jaxpr.constvars and not consts:  # given by the equation, as the other inputs
                given = jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars])
            inputs = _inputs_of(given.invars, 0)
            outputs, effects = self.read(given, consts, inputs)
            self.known[key] = (value, mix(b"jaxpr", *inputs, b"to", *outputs, effects))
        return self.known[key][1]


def _places(tree: Any) -> list[bytes]:
    """Where in a tree its leaves are, by name; by number, too, where names are not unique."""
    import jax

    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    if len({*names}) < len(names):
        names = [f"{name} {index}" for index, name in enumerate(names)]
    return [name.encode() for name in names]


def _inputs_of(variables: Sequence[Any], depth: int) -> list[bytes]:
    """Hashes for the inputs of a function that is read by itself: by position, and by the loops it stands in."""
    return [
        mix(b"input", b"%d" % depth, b"%d" % index, type_of(variable.aval)) for index, variable in enumerate(variables)
    ]


def _opened(value: Any) -> tuple[Any, Sequence[Any]]:
    """A jaxpr and its constants."""
    return getattr(value, "jaxpr", value), getattr(value, "consts", ())


def _live(jaxpr: Any) -> Any:
    """A jaxpr without what no output depends on, also inside of calls and loops."""
    from jax.interpreters import partial_eval

    return partial_eval.dce_jaxpr(jaxpr, True, True)[0]


def _expanded(equation: Any) -> tuple[Any, Sequence[Any]]:
    """What an operation of several says it is made of, and its constants."""
    import jax

    operation = equation.params["_prim"]
    shapes = [shape_of(variable) for variable in equation.invars]
    closed = jax.make_jaxpr(lambda *flat: operation.expand(*operation.in_tree.unflatten(flat)))(*shapes)
    return _live(closed.jaxpr), closed.consts


def _returns_its_inputs(equation: Any) -> bool:
    """Whether an equation leaves no trace in the compiled program."""
    name, params = equation.primitive.name, equation.params
    if name == "convert_element_type":
        unchanged = equation.invars[0].aval.dtype == params["new_dtype"]
        return bool(unchanged and params.get("sharding") is None)
    if name == "device_put":
        return all(device is None for device in params.get("devices", [""]))
    return name in SAME_VALUE


def _only_reshapes(equation: Any) -> bool:
    """Whether the elements stay what they are, and in their order."""
    name, params = equation.primitive.name, equation.params
    is_transposed = name == "reshape" and params["dimensions"] is not None
    is_placed = any(params.get(key) is not None for key in ("sharding", "out_sharding"))
    return bool(equation.invars[0].aval.size == equation.outvars[0].aval.size and not is_transposed and not is_placed)


def _is_taken_apart(params: Mapping[str, Any]) -> bool:
    """Whether a call asks for nothing of its own: no placement, no compiler options, nothing computed again."""
    if params.get("differentiated") or params.get("compiler_options_kvs"):
        return False
    asked = (
        each for name in ("in_shardings", "out_shardings", "in_layouts", "out_layouts") for each in params.get(name, ())
    )
    return all(each is None or type(each).__name__ == "UnspecifiedValue" for each in asked)


def _context(equation: Any) -> bytes:
    """What an equation is compiled with, beside its parameters."""
    context = equation.ctx
    is_random = equation.primitive.name.startswith(("random_", "threefry"))
    asked = (
        context.threefry_partitionable if is_random else None,
        context.compute_type,
        context.xla_metadata or None,
    )
    return b"" if asked == (None, None, None) else repr(asked).encode()
