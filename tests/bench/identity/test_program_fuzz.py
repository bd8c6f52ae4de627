"""Random edits of random models: the hash changes exactly when the compiled program or the data do."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from dlkit.bench.identity.programs import forget_traces, hash_program
from tests.bench.identity.own_code import load
from tests.bench.identity.random_code import Code, edit, random_code

KEY = jax.eval_shape(lambda: jax.random.key(0))
VECTOR = jax.ShapeDtypeStruct((3,), np.float32)
PARAMS = {"w": jax.ShapeDtypeStruct((3, 3), np.float32), "b": VECTOR}
ARGUMENTS = {
    "init": (KEY,),
    "step": (PARAMS, {"mean": VECTOR}, {"inputs": jax.ShapeDtypeStruct((4, 3), np.float32)}, KEY),
}
QUICK = {"xla_backend_optimization_level": 0}  # for the machine's code; the program is the same
EDITS_OF_A_MODEL = 20
MOST_NEEDLESS = 0.01


@pytest.fixture(autouse=True)
def broadcasting() -> Iterator[None]:
    """As in a user's process, not as in this session."""
    with jax.numpy_rank_promotion("allow"):
        yield


# --- what XLA compiles, told by its data flow ------------------------------------------------------------------------

INSTRUCTION = re.compile(r"^\s+(ROOT )?%(\S+) = (.*)$")
COMPUTATION = re.compile(r"^(ENTRY )?%(\S+) \(.*\{$")
CALLED = re.compile(r"%([\w.\-]+)")
Value = bytes | list  # of a tuple: a list


class Instruction(NamedTuple):
    """One of a compiled program."""

    name: str
    shape: str
    operation: str
    operands: str
    attributes: str


def compiled_digest(text: str) -> bytes:
    """A hash of a compiled program without names, places and the order of independent instructions."""
    computations: dict[str, list[Instruction]] = {}
    entry = ""
    for line in text.splitlines():
        if head := COMPUTATION.match(line):
            entry = head[2] if head[1] else entry
            current = computations.setdefault(head[2], [])
        elif found := INSTRUCTION.match(line):
            current.append(_instruction(found[2], re.sub(r"/\*.*?\*/", "", found[3])))
            if found[1]:
                current.append(current.pop()._replace(name="ROOT"))
    return _flat(_value(computations, entry, None))


def _instruction(name: str, text: str) -> Instruction:
    shape, text = _split(text) if text.startswith("(") else text.split(" ", 1)
    operation, text = text.strip().split("(", 1)
    operands, attributes = _split("(" + text)
    attributes = re.sub(r", metadata=\{[^}]*\}", "", attributes)
    return Instruction(name, shape, operation, operands, attributes)


def _split(text: str) -> tuple[str, str]:
    """What stands in the first brackets, and the rest."""
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[1:index], text[index + 1 :]
    raise ValueError(text)


def _value(computations: Mapping[str, list[Instruction]], name: str, given: list[Value] | None) -> Value:
    """What a computation returns, given the hashes of its inputs, or by their position."""
    values: dict[str, Value] = {}
    for each in computations[name]:
        operands = [values[operand] for operand in CALLED.findall(each.operands)] if "%" in each.operands else []
        called = [found for found in CALLED.findall(each.attributes) if found in computations]
        if each.operation == "parameter":
            index = int(each.operands)
            values[each.name] = given[index] if given is not None else _mix("input", index, each.shape)
        elif each.operation in ("fusion", "call"):
            values[each.name] = _value(computations, called[0], operands)
        elif each.operation == "tuple":
            values[each.name] = operands
        elif each.operation == "get-tuple-element" and isinstance(operands[0], list):
            values[each.name] = operands[0][int(re.findall(r"index=(\d+)", each.attributes)[0])]
        else:
            attributes = CALLED.sub("", each.attributes)
            bodies = [_flat(_value(computations, body, None)) for body in called]
            constant = each.operands if each.operation == "constant" else ""
            parts = (each.operation, each.shape, attributes, constant, *bodies, *map(_flat, operands))
            values[each.name] = _mix(*parts)
    return values["ROOT"]


def _flat(value: Value) -> bytes:
    return _mix("tuple", *map(_flat, value)) if isinstance(value, list) else value


def _mix(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


# --- one edit after another ------------------------------------------------------------------------------------------


class Made(NamedTuple):
    """What a model is: by `hash_program`, by its compiled programs, and its data."""

    digests: list[str]
    compiled: list[bytes]
    data: bytes
    executables: list[jax.stages.Compiled]


class Maker:
    """Makes models, and compiles each program once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, tuple[bytes, jax.stages.Compiled]] = {}

    def make(self, code: Code) -> Made:
        module = load(self.folder, code.files())
        functions = {name: getattr(module, name) for name in ARGUMENTS}
        found = [hash_program(function, *ARGUMENTS[name]) for name, function in functions.items()]
        assert all(each.unhashable == () for each in found)
        # What the host computes is no part of a compiled program; here it is told by one number.
        host = [option for kind, option in code.steps if kind == "callback"]
        compiled = [self.compile(function, ARGUMENTS[name], host) for name, function in functions.items()]
        data = hashlib.sha256(module.DATA["inputs"].tobytes()).digest()
        return Made(
            [each.digest for each in found], [each[0] for each in compiled], data, [each[1] for each in compiled]
        )

    def compile(self, function: Any, arguments: Any, host: list[str]) -> tuple[bytes, jax.stages.Compiled]:
        lowered = jax.jit(function).lower(*arguments)
        text = re.sub(r"@[\w.\-]+", _numbered(), lowered.as_text()) + repr(host)
        if text not in self.known:
            compiled = lowered.compile(compiler_options=QUICK)
            program = compiled_digest(re.sub(r"(?<![.\d])\d{12,}", "", compiled.as_text()))  # but for addresses
            large = re.findall(r'dense<(?:"|\[)[^>]*>', text)  # not written in the compiled program
            self.known[text] = (_mix(program, sorted(large), host), compiled)
        return self.known[text]


def _numbered():
    """A replacement of names by numbers, in the order of their appearance."""
    seen: dict[str, str] = {}
    return lambda match: seen.setdefault(match[0], f"@{len(seen)}")


def same_bits(first: Made, second: Made) -> bool:
    """Whether the programs of two models return the same bits on some inputs."""

    def outputs(made: Made, seed: int) -> list[bytes]:
        key, rng = jax.random.key(seed), np.random.default_rng(seed)
        given = jax.tree.map(lambda each: rng.normal(size=each.shape).astype(np.float32), ARGUMENTS["step"][:3])
        results = [made.executables[0](key), made.executables[1](*given, key)]
        return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(results)]

    return all(outputs(first, seed) == outputs(second, seed) for seed in range(3))


def fuzz(seed: int, edits: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Edits random models.

    Returns:
        How often what came out; and what is wrong.
    """
    rng = random.Random(seed)
    maker = Maker(folder)
    counts: Counter[str] = Counter()
    wrong = []
    for count in range(edits):
        if count % EDITS_OF_A_MODEL == 0:
            forget_traces()
            code = random_code(rng)
            before = maker.make(code)
        name, edited = edit(code, rng)
        after = maker.make(edited)
        seen = after.digests != before.digests or after.data != before.data
        true = after.compiled != before.compiled or after.data != before.data
        if seen != true and not (true and same_bits(before, after)):
            kind = "stale" if true else "needless"
            wrong.append(f"{kind}: {name}: {code} -> {edited}")
            counts[kind] += 1
        counts["changed" if true else "same"] += 1
        code, before = edited, after
    return counts, wrong


def check(counts: Counter[str], wrong: list[str]) -> None:
    """Nothing is stale; and hardly anything needless: now and then XLA undoes an edit, such as a checkpoint."""
    assert not counts["stale"], "\n".join(wrong)
    assert counts["needless"] <= MOST_NEEDLESS * (counts["changed"] + counts["same"]), "\n".join(wrong)
    assert min(counts["changed"], counts["same"]) > 0.2 * (counts["changed"] + counts["same"])


@pytest.mark.long
def test_sixty_random_edits(tmp_path: Path) -> None:
    check(*fuzz(0, 60, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_two_thousand_random_edits(seed: int, tmp_path: Path) -> None:
    check(*fuzz(seed, 200, tmp_path))


def test_the_compiled_program_is_told_by_its_data_flow() -> None:
    import jax.numpy as jnp

    def digest(function):
        return compiled_digest(jax.jit(function).lower(VECTOR).compile().as_text())

    def first(x):
        a, b = jnp.sin(x) @ jnp.ones(3), jnp.cos(x)
        return a, b

    def second(y):
        d = jnp.cos(y)
        c = jnp.sin(y) @ jnp.ones(3)
        return c, d

    assert digest(first) == digest(second)
    others = [lambda x: (jnp.sin(x) @ jnp.ones(3), jnp.sin(x)), lambda x: first(x)[::-1], lambda x: first(2 * x)]
    assert len({digest(each) for each in (first, *others)}) == 4
