"""Identities: what must change one, what must not, and that they are the same in every process."""

import functools
import hashlib
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import textwrap
import types
from collections import deque
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit import models
from dlkit.bench.identity.fingerprints import fingerprint, source_files
from dlkit.bench.identity.hashing import canonical, digest
from dlkit.bench.identity.local_code import is_local
from dlkit.bench.identity.local_imports import LocalModule, Scope
from dlkit.bench.plan.space import log_uniform
from dlkit.bench.plan.trials import Evaluations

ROOT = Path(__file__).parents[3]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


# --- canonical JSON --------------------------------------------------------------------------------------------------


@given(json_values)
def test_canonical_json_loses_nothing(value):
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=6), st.randoms())
def test_canonical_json_ignores_the_order_of_keys(table, random):
    items = list(table.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(table)


def test_canonical_json_by_hand():
    value = {"b": [1, 2.0, None, True], "a": "ä\n", "ab": {}, "B": 1e-7}
    assert canonical(value) == '{"B":1e-07,"a":"ä\\n","ab":{},"b":[1,2.0,null,true]}'


def test_digest_is_the_hash_of_the_canonical_form():
    expected = hashlib.sha256(b'{"a":0.1}').hexdigest()
    assert digest({"a": 0.1}) == expected[:16]
    assert digest({"a": 0.1}, length=64) == expected


# --- functions of a module of one's own ------------------------------------------------------------------------------

MODULE = """
import jax, jax.numpy as jnp, helpers
from helpers import shift
RATE = 0.1
TABLE = {"a": [1, 2]}
UNUSED = 1

def helper(x):
    return x * RATE

def loss(x, power=2, *, scale=1.0):
    return helper(jnp.maximum(x, 0.0)) ** power * scale + TABLE["a"][0]

def nested(x):
    def inner(y):
        return helper(y)
    return [inner(each) for each in x]

def through_a_module(x):
    return helpers.move(x)

def imported(x):
    return shift(x)

def factorial(n):
    return n * factorial(n - 1) if n else 1

def even(n):
    return True if n == 0 else odd(n - 1)

def odd(n):
    return False if n == 0 else even(n - 1)

def tries(x):
    try:
        return helper(x)
    except ValueError:
        return 0

class Model:
    width = 8

    def __init__(self, depth):
        self.depth = depth

    def __call__(self, x):
        return x * self.depth * self.width

    @staticmethod
    def still(x):
        return x + 1

    @property
    def size(self):
        return helper(self.depth)

class Wide(Model):
    pass

model = Model(3)

def with_model(x):
    return model(x)

@jax.custom_vjp
def identity(x):
    return x

def backward(_, gradient):
    return (2.0 * gradient,)

identity.defvjp(lambda x: (x, None), backward)
fast = jax.jit(loss)
"""
HELPERS = """
OFFSET = 3

def shift(x):
    return x + OFFSET

def move(x):
    return shift(x)
"""
FUNCTIONS = [
    "loss",
    "nested",
    "through_a_module",
    "imported",
    "factorial",
    "even",
    "tries",
    "with_model",
    "model.still",
]
NAMES = [*FUNCTIONS, "Model", "Wide", "model", "identity", "fast"]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the user's files, imports them anew, and returns the fingerprint of each name."""

    def load(text=MODULE, helpers=HELPERS, name="study"):
        for own, content in (("helpers", helpers), (name, text)):
            path = tmp_path / f"{own}.py"
            path.write_text(content)
            spec = importlib.util.spec_from_file_location(own, path)
            loaded = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, own, loaded)
            exec(compile(content, str(path), "exec"), loaded.__dict__)  # the import system may reuse compiled code
        return loaded

    return load


def fingerprints(module):
    return {name: fingerprint(functools.reduce(getattr, name.split("."), module)) for name in NAMES}


EVERYTHING_WITH_HELPER = {"loss", "nested", "tries", "Model", "Wide", "model", "with_model", "fast"}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("x * RATE", "x + RATE", EVERYTHING_WITH_HELPER),  # code of a function that others use
        ("RATE = 0.1", "RATE = 0.2", EVERYTHING_WITH_HELPER),  # a constant that a used function uses
        ("** power", "// power", {"loss", "fast"}),
        ("power=2", "power=3", {"loss", "fast"}),
        ("scale=1.0", "scale=2.0", {"loss", "fast"}),
        ('"a": [1, 2]', '"a": [1, 3]', {"loss", "fast"}),
        ("jnp.maximum", "jnp.minimum", {"loss", "fast"}),
        ("return helper(y)", "return helper(-y)", {"nested"}),
        ("if n else 1", "if n else 2", {"factorial"}),
        ("False if n == 0", "None if n == 0", {"even"}),
        ("except ValueError", "except TypeError", {"tries"}),
        ("width = 8", "width = 9", {"Model", "Wide", "model", "with_model"}),
        ("x * self.depth", "x + self.depth", {"Model", "Wide", "model", "with_model"}),
        ("return x + 1", "return x + 2", {"Model", "Wide", "model", "with_model", "model.still"}),
        ("helper(self.depth)", "helper(-self.depth)", {"Model", "Wide", "model", "with_model"}),
        ("Model(3)", "Model(4)", {"model", "with_model"}),
        ("2.0 * gradient", "3.0 * gradient", {"identity"}),
        ("UNUSED = 1", "UNUSED = 2", set()),
    ],
)
def test_what_changes_the_fingerprint_of_a_users_function(module, before, after, changed):
    assert before in MODULE
    old, new = fingerprints(module()), fingerprints(module(MODULE.replace(before, after)))
    assert {name for name in NAMES if old[name] != new[name]} == changed


@pytest.mark.parametrize(("before", "after"), [("x + OFFSET", "x - OFFSET"), ("OFFSET = 3", "OFFSET = 4")])
def test_helpers_in_another_module_count(module, before, after):
    old, new = fingerprints(module()), fingerprints(module(helpers=HELPERS.replace(before, after)))
    assert {name for name in NAMES if old[name] != new[name]} == {"through_a_module", "imported"}


def test_where_and_how_a_module_is_loaded_does_not_matter(module):
    moved = "# a comment\n\n" + MODULE
    assert fingerprints(module()) == fingerprints(module(moved)) == fingerprints(module(MODULE, name="another"))


@pytest.mark.long
def test_the_same_in_every_process(module, tmp_path):
    """With other hash seeds, other addresses, as a script or imported."""
    expected = fingerprints(module())
    script = MODULE + textwrap.dedent(f"""
    import functools, json, sys
    from dlkit.bench.identity.fingerprints import fingerprint
    here = sys.modules[__name__]
    print(json.dumps({{name: fingerprint(functools.reduce(getattr, name.split("."), here)) for name in {NAMES!r}}}))
    """)
    (tmp_path / "script.py").write_text(script)
    for seed in ("1", "2"):
        process = subprocess.run(
            [sys.executable, tmp_path / "script.py"],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONHASHSEED": seed, "PATH": ""},
        )
        assert json.loads(process.stdout) == expected


# --- functions without a file, closures, partials, objects -----------------------------------------------------------


def typed(source, **names):
    """A function typed at a prompt: no file to read."""
    names = {"__name__": "prompt", **names}
    exec(compile(textwrap.dedent(source), "<stdin>", "exec"), names)
    return names["f"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("f = lambda x: x + 1", "f = lambda x: x + 2"),
        ("f = lambda x: x + 1", "f = lambda x: x - 1"),
        ("f = lambda x: x.sum()", "f = lambda x: x.mean()"),
        ("f = lambda x: sqrt(x)", "f = lambda x: cbrt(x)"),
        ("f = lambda x, a=1: a", "f = lambda x, a=2: a"),
        ("def f(x, *, a=1): return a", "def f(x, *, a=2): return a"),
        ("def f(x):\n  def g(y): return y + 1\n  return g(x)", "def f(x):\n  def g(y): return y + 2\n  return g(x)"),
        ("class A:\n  def m(self): return 1\nf = A()", "class A:\n  def m(self): return 2\nf = A()"),
        ("class A:\n  w = 1\ndef f(x): return A.w", "class A:\n  w = 2\ndef f(x): return A.w"),
        ("a = 1\ndef f(x): return a", "a = 1.0\ndef f(x): return a"),
        ("a = 1\ndef f(x): return a", "a = True\ndef f(x): return a"),
        ("from math import sqrt\ndef f(x): return sqrt(x)", "from cmath import sqrt\ndef f(x): return sqrt(x)"),
        ("def f(x): return 'a'", "def f(x): return 'b'"),
        ("def f(x, *y): return x", "def f(x, **y): return x"),
        (
            "def f(x):\n  try: x()\n  except ValueError: pass\n  x()",
            "def f(x):\n  x()\n  try: x()\n  except ValueError: pass",
        ),
    ],
)
def test_code_typed_at_a_prompt(first, second):
    assert fingerprint(typed(first)) == fingerprint(typed(first))
    assert fingerprint(typed(first)) != fingerprint(typed(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("def f(x): return x + 1", "def f(x):\n  # adds\n\n  return (\n    x + 1\n  )"),
        ("def f(x): return x + 1", "def f(x):\n  'Adds.'\n  return x + 1"),
        ("def f(x):\n  'Adds.'\n  return x + 1", "def f(x):\n  'Adds one.'\n  return x + 1"),
        ("def f(x):\n  y = x + 1\n  return y", "def f(x):\n  z = x + 1\n  return z"),
        ("def f(x): return x + 1", "def f(x: int) -> int: return x + 1"),
        ("class A:\n  def m(self): return 1\nf = A()", "class A:\n  'Is.'\n  def m(self): return 1  # one\nf = A()"),
    ],
)
def test_what_code_does_not_do_does_not_count(first, second):
    assert fingerprint(typed(first)) == fingerprint(typed(second))


def test_which_object_comes_again_counts():
    def function(*used):
        return lambda x: [each(x) for each in used]

    one, other = (lambda x: x + 1), (lambda x: x + 2)
    orders = [(one, other, one), (one, other, other), (one, one, other), (other, one, other), (other, one, one)]
    for wrapped in (list, tuple, function, lambda *used: dict(zip("abc", used, strict=True))):
        values = [wrapped(order) if wrapped in (list, tuple) else wrapped(*order) for order in orders]
        assert len({fingerprint(each) for each in values}) == len(orders)
        assert [fingerprint(each) for each in values] == [fingerprint(each) for each in values]


@pytest.mark.parametrize(
    "use",
    [
        "import lib.acts\ndef f(x): return lib.acts.act(x)",
        "def f(x):\n  from lib.acts import act\n  return act(x)",
        "def f(x):\n  import lib.acts as a\n  return a.act(x)",
        "def f(x):\n  from lib import acts\n  return acts.act(x)",
        "from lib import acts as a\ndef f(x): return [a.act(y) for y in x]",
    ],
)
def test_functions_of_packages_of_ones_own_count(use, monkeypatch):
    prints = []
    for body in ("x + 1", "x + 2", "x + 1"):
        package, acts = types.ModuleType("lib"), types.ModuleType("lib.acts")
        exec(compile(f"def act(x): return {body}", "acts.py", "exec"), acts.__dict__)
        package.acts = acts
        package.__file__ = acts.__file__ = "/home/lib/acts.py"
        monkeypatch.setitem(sys.modules, "lib", package)
        monkeypatch.setitem(sys.modules, "lib.acts", acts)
        prints.append(fingerprint(typed(use)))
    assert prints[0] == prints[2] != prints[1]


def test_modules_that_only_a_functions_own_scope_imports_count(monkeypatch):
    for name in ("mine", "acts"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def function(body):
        texts = {
            "mine": "def f(x):\n  from acts import act\n  return act(x)\nf(1)",
            "acts": f"def act(x): return {body}",
        }
        modules = {name: LocalModule(f"/home/{name}.py", text, False) for name, text in texts.items()}
        return Scope(modules.get).import_module("mine").f

    first, second, third = map(function, ("x + 1", "x + 2", "x + 1"))
    assert fingerprint(first) == fingerprint(third) != fingerprint(second)


def test_lambdas_on_one_line_differ():
    first, second, third = (lambda x: x + 1), (lambda x: x + 2), (lambda x: x + 1)
    assert fingerprint(first) != fingerprint(second)
    assert fingerprint(first) == fingerprint(third)


def closure(value):
    def function(x):
        return x, value

    return function


OBJECTS = [
    0,
    1,
    1.0,
    True,
    "1",
    b"1",
    None,
    -0.0,
    0.0,
    (),
    [],
    (1,),
    {"a": 1},
    {"a": 2},
    {"b": 1},
    {1, 2},
    {1, 3},
    range(3),
    range(4),
    slice(1),
    re.compile("a"),
    re.compile("b"),
    Fraction(1, 3),
    Fraction(2, 3),
    deque([1]),
    deque([2]),
    Path("a"),
    Path("b"),
    np.float32(1),
    np.float64(1),
    np.zeros(3),
    np.zeros(3, np.float32),
    np.zeros((3, 1)),
    np.array([0.0, 0.0, 1.0]),
    jnp.float32,
    jnp.bfloat16,
    np.dtype("f4"),
    np.dtype("f8"),
    jax.random.key(0),
    jax.random.key(1),
    math.sin,
    math.cos,
    np.sin,
    jnp.sin,
    jnp.maximum,
    jnp.minimum,
    jax.nn.relu,
    jax.nn.silu,
    optax.adam,
    optax.sgd,
    functools.partial(optax.sgd, momentum=0.9),
    functools.partial(optax.sgd, momentum=0.8),
    functools.partial(optax.sgd, 0.9),
    nn.Dense(3),
    nn.Dense(4),
    closure(1),
    closure(2),
    closure(closure(1)),
    models.mlp((8, 1)),
    models.mlp((9, 1)),
]


def test_different_objects_have_different_fingerprints():
    found = {}
    for each in OBJECTS:
        found.setdefault(fingerprint(each), []).append(each)
    assert [same for same in found.values() if len(same) > 1] == []
    assert len({fingerprint(closure(each)) for each in OBJECTS}) == len(OBJECTS)  # and so have closures over them


def test_equal_arrays_have_equal_fingerprints_wherever_they_are():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert fingerprint(values) == fingerprint(np.asfortranarray(values)) == fingerprint(jnp.asarray(values))
    assert fingerprint(values) != fingerprint(values.T)


def test_methods_count_with_their_objects():
    class Scale:
        def __init__(self, factor):
            self.factor = factor

        def apply(self, x):
            return self.factor * x

    assert fingerprint(Scale(2).apply) == fingerprint(Scale(2).apply)
    assert fingerprint(Scale(2).apply) != fingerprint(Scale(3).apply)


def test_objects_with_slots_count_with_what_they_hold():
    class Slotted:
        __slots__ = ("empty", "value")

        def __init__(self, value):
            self.value = value

    assert fingerprint(Slotted(1)) == fingerprint(Slotted(1))
    assert fingerprint(Slotted(1)) != fingerprint(Slotted(2))


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value))[:30])
def test_looking_at_an_object_does_not_change_its_fingerprint(value):
    before = fingerprint(value)
    str(value)
    with suppress(TypeError):
        hash(value)
    assert fingerprint(value) == before


def test_functions_that_use_themselves():
    def forever(x):
        return forever(x)

    table = {}
    table["self"] = table
    assert fingerprint(forever) != fingerprint(closure(forever))
    assert fingerprint(table) != fingerprint({})


def test_every_position_among_many_values_counts():
    """Objects made on the way must not be mistaken for ones seen before because they stand at the same address."""
    values = [functools.partial(closure(i), i) for i in range(40)]
    known = {fingerprint(*values)}
    for i in range(40):
        known.add(fingerprint(*values[:i], functools.partial(closure(-1), i), *values[i + 1 :]))
        known.add(fingerprint(*values[:i], functools.partial(closure(i), -1), *values[i + 1 :]))
    assert len(known) == 81


def test_installed_functions_count_by_name_only(tmp_path, monkeypatch):
    folder = tmp_path / "lib" / "site-packages"
    folder.mkdir(parents=True)
    prints = []
    for body in ("1", "2"):
        for name, place in (("installed", folder), ("own", tmp_path)):
            code = compile(f"def f(): return {body}\nclass C:\n  x = {body}", str(place / f"{name}.py"), "exec")
            loaded = type(sys)(name)
            loaded.__file__ = str(place / f"{name}.py")
            monkeypatch.setitem(sys.modules, name, loaded)
            exec(code, loaded.__dict__)
            prints.append((fingerprint(loaded.f), fingerprint(loaded.C)))
    assert prints[0] == prints[2]
    assert prints[1][0] != prints[3][0] and prints[1][1] != prints[3][1]


def test_where_a_file_of_dlkit_lies_changes_no_identity(monkeypatch):
    """What one's own function uses of dlkit counts by its family and name, not by its file."""
    before = fingerprint(Evaluations(), log_uniform)
    for kind in (Evaluations, log_uniform):
        monkeypatch.setattr(kind, "__module__", "dlkit.bench.errors")  # another file of the bench
    assert fingerprint(Evaluations(), log_uniform) == before
    monkeypatch.setattr(log_uniform, "__module__", "dlkit.losses.regression")
    assert fingerprint(Evaluations(), log_uniform) != before


def test_a_folder_whose_name_begins_like_an_installed_one_is_ones_own(tmp_path):
    prints = [
        fingerprint(typed_in(f"{ROOT}/dlkit{suffix}/own.py", value)) for suffix in ("_study", "") for value in (1, 2)
    ]
    assert prints[0] != prints[1]
    assert prints[2] == prints[3]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        *((file, False) for file in (json.__file__, np.__file__, models.__file__, os.path.join.__code__.co_filename)),
        *((file, False) for file in ("<frozen os>", "<builtin>", "/home/me/dist-packages/thing.py")),
        *((file, True) for file in (__file__, "/home/me/mine.py", "<stdin>", f"{ROOT}/dlkit_study/own.py")),
    ],
)
def test_whose_a_file_is(file, expected):
    assert is_local(file) == expected
    assert (fingerprint(typed_in(file, 1)) != fingerprint(typed_in(file, 2))) == expected


def typed_in(file, value):
    names = {"__name__": "own"}
    exec(compile(f"def f(): return {value}", file, "exec"), names)
    return names["f"]


# --- sources ---------------------------------------------------------------------------------------------------------


def test_source_files_are_the_users_own(module, tmp_path):
    loaded = module()
    expected = {f"{tmp_path}/study.py": MODULE}
    for value in (
        loaded.loss,
        loaded.Model,
        loaded.fast,
        functools.partial(loaded.loss, power=3),
        loaded.model.__call__,
    ):
        assert source_files(value) == expected
    assert source_files(loaded.loss, loaded.imported, loaded.shift) == {
        **expected,
        f"{tmp_path}/helpers.py": HELPERS,
    }
    assert source_files(optax.adam, typed("f = lambda x: x"), 3, None, loaded.RATE) == {}
