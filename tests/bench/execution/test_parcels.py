"""Parcels: what is the user's own arrives in another process as it was in memory, arrays without a copy."""

import importlib
import inspect
import linecache
import pickle
import re
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import jax
import numpy as np
import pytest
from distributed.protocol import deserialize, serialize

from dlkit.bench.errors import UserError
from dlkit.bench.execution.parcels import Parcel, pack, unpack
from dlkit.bench.identity.references import import_attribute, imports_anew

OPEN = """
import pickle, sys
from dlkit.bench.execution.parcels import unpack
opened = unpack(pickle.load(sys.stdin.buffer))
assert not [module for module in sys.modules.values() if "gone" in str(getattr(module, "__file__", ""))]
sys.stdout.buffer.write(pickle.dumps([each() for each in opened]))
"""


def elsewhere(functions: list[Callable[[], Any]]) -> list[Any]:
    """What functions return in another process, from another folder."""
    sent = pickle.dumps(pack(functions), protocol=5)
    done = subprocess.run([sys.executable, "-c", OPEN], input=sent, capture_output=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr.decode()
    returned: list[Any] = pickle.loads(done.stdout)
    return returned


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def load(folder: Path, *names: str) -> list[Any]:
    return [import_attribute(f"mine.py:{name}", owner="a test", folder=folder) for name in names]


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    """Starts without, and leaves nothing of, the modules that these tests write; brings back what they evict."""
    _forget_written()
    modules, finders = dict(sys.modules), list(sys.meta_path)
    yield
    _forget_written()
    sys.modules.update(modules)
    sys.meta_path[:] = finders


def _forget_written() -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("lib", "other"):
            del sys.modules[name]


def test_arrays_are_sent_without_a_copy() -> None:
    array = np.arange(4_000_000.0)
    pack(array)  # what is made once
    tracemalloc.start()
    header, frames = serialize(pack({"inputs": array}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * array.nbytes
    assert any(np.shares_memory(np.frombuffer(frame, np.uint8), array) for frame in frames)
    np.testing.assert_array_equal(unpack(deserialize(header, frames))["inputs"], array)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_parcel_is_bytes_and_text(protocol: int) -> None:
    array = np.arange(6.0).reshape(2, 3)
    sent = pickle.loads(pickle.dumps(pack([array, array.T]), protocol))
    stored = Parcel(sent.data, [bytes(each) for each in sent.buffers], sent.code, sent.settings)
    for opened, expected in zip(unpack(stored), [array, array.T], strict=True):
        np.testing.assert_array_equal(opened, expected)


FILE = """
import lib
import lib.acts
from lib.acts import act


def by_module(): return lib.acts.act(1.0)
def by_name(): return act(1.0)
def inside():
    from lib.late import late
    def deeper():
        import lib.inner.deep
        return lib.inner.deep.deep()
    return late() + deeper()
"""
LIB = {
    "lib/__init__.py": "from . import acts\nSCALE = 2.0\n",
    "lib/acts.py": "import lib\ndef act(x): return x * lib.SCALE\n",
    "lib/late.py": "def late(): return 100\n",
    "lib/inner/deep.py": "def deep():\n    from ..late import late\n    return late() + 7\n",  # without __init__.py
}
# Classes that are more than their functions, and wrappers around functions.
KINDS = """
import abc, dataclasses, enum, functools, typing
import equinox, flax, jax, jax.numpy as jnp, optax
from flax import linen, nnx

T = typing.TypeVar("T")

class Mode(enum.Enum):
    ON = 1
    def twice(self): return 2 * self.value

@dataclasses.dataclass
class Plain:
    rate: float = 0.5

@flax.struct.dataclass
class Struct:
    a: typing.Any
    b: int = flax.struct.field(pytree_node=False, default=3)

@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Data:
    a: typing.Any
    b: int = dataclasses.field(metadata=dict(static=True), default=3)

@jax.tree_util.register_pytree_node_class
class Node:
    def __init__(self, a): self.a = a
    def tree_flatten(self): return (self.a,), None
    @classmethod
    def tree_unflatten(cls, _, children): return cls(*children)

class Model(equinox.Module):
    weight: jax.Array
    name: "str" = equinox.field(static=True, default="a")
    kids: "list[Model]" = equinox.field(default_factory=list)
    def __call__(self, x): return self.weight * x + sum(kid(x) for kid in self.kids)

class Deeper(Model, typing.Generic[T]):
    layer: equinox.nn.Linear
    def __init__(self, key):
        self.weight, self.layer, self.name, self.kids = jnp.ones(()), equinox.nn.Linear(1, 1, key=key), "b", []
    def __call__(self, x): return super().__call__(x) * self.layer(jnp.ones(1)).sum()

class Net(linen.Module):
    width: int = 2
    @linen.compact
    def __call__(self, x): return linen.Dense(self.width)(x)

class Nnx(nnx.Module):
    def __init__(self, rngs): self.layer = nnx.Linear(1, 2, rngs=rngs)
    def __call__(self, x): return self.layer(x)

class Abstract(abc.ABC):
    @abc.abstractmethod
    def go(self): ...
    @functools.cached_property
    def kept(self): return 6

class Concrete(Abstract):
    def go(self): return super().kept

@functools.lru_cache
def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

@jax.custom_vjp
def wrong(x): return x
wrong.defvjp(lambda x: (wrong(x), x), lambda x, gradient: (7 * gradient,))

@jax.custom_jvp
def other(x): return x
other.defjvp(lambda primals, tangents: (primals[0], 5 * tangents[0]))

@functools.partial(jax.jit, static_argnames="k")
def jitted(x, k): return k * x
mapped, remade, steep = jax.vmap(lambda x: x + 1), jax.checkpoint(lambda x: x * x), jax.grad(lambda x: x**3)
tail, sgd = functools.partial(jitted, k=4), optax.sgd(0.5)

def trees():
    return [jax.tree.leaves(jax.tree.map(lambda x: x + 1, each(1.0))) for each in (Struct, Data, Node)]
def models():
    key = jax.random.key(0)
    slope = jax.grad(lambda model: model(2.0))
    net = Net().init_with_output(key, jnp.ones((1, 1)))[0]
    made = nnx.merge(*nnx.split(Nnx(nnx.Rngs(0))))(jnp.ones((1, 1)))
    numbers = [slope(Model(jnp.ones(()), kids=[Model(jnp.ones(()))])).kids[0].weight, slope(Deeper(key)).weight]
    return [*map(float, [*numbers, *net.ravel(), *made.ravel()])]
def classes(): return Plain().rate, Plain() == Plain(0.5), Mode(1) is Mode.ON, Mode.ON.twice(), Concrete().go()
def wrappers():
    numbers = [jax.grad(wrong)(1.0), jax.grad(other)(1.0), jitted(2.0, k=3), tail(1.0), remade(3.0), steep(2.0)]
    return fibonacci(30), [*map(float, [*numbers, *mapped(jnp.ones(2)), sgd.update(1.0, sgd.init(1.0))[0]])]

def program():
    from dlkit.bench.identity.programs import hash_program

    def step(x): return wrong(x) + other(x) + jitted(x, k=2) + remade(x) + steep(x) + mapped(x[None])[0] + Model(x)(x)

    return tuple(hash_program(jax.value_and_grad(step), jax.ShapeDtypeStruct((), "float32"), rules=1))
"""
CHECKED = ("trees", "models", "classes", "wrappers", "program")


@pytest.mark.long
def test_code_arrives_where_its_files_are_not(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": FILE + KINDS, **LIB})
    functions = load(tmp_path, "by_module", "by_name", "inside", *CHECKED)
    with pytest.MonkeyPatch.context() as patched:  # dataclasses look there for their names
        patched.setitem(sys.modules, "__main__", ModuleType("__main__"))
        script = vars(sys.modules["__main__"])
        exec(KINDS, script)
        functions += [script[name] for name in CHECKED]
        expected = [each() for each in functions]
        assert expected[:3] == [2.0, 2.0, 207] and expected[3:8] == expected[8:]
        assert expected[7][1:] == ((), ()), "all of the program is hashed"
        write(tmp_path, {"mine.py": "raise RuntimeError"})  # it is not run there
        (tmp_path / "lib").rename(tmp_path / "gone")
        assert elsewhere(functions) == expected


def test_what_a_parcel_needs_is_found_by_its_imports(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": FILE, **LIB, "lib/unused.py": "", "unused.py": ""})
    inside = load(tmp_path, "inside")[0]
    modules = pack(inside).code.modules
    assert {*modules} == {"lib", "lib.acts", "lib.inner", "lib.inner.deep", "lib.late", inside.__module__}
    assert modules["lib.late"].text == LIB["lib/late.py"]
    assert modules["lib.inner"].is_namespace and not modules["lib.inner"].text


def test_what_is_in_memory_holds(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": FILE, **LIB})
    by_module, by_name = load(tmp_path, "by_module", "by_name")
    by_module.__globals__["lib"].SCALE = 5.0
    (tmp_path / "lib" / "acts.py").write_text("raise RuntimeError")
    opened = unpack(pack([by_module, by_name]))
    assert [each() for each in opened] == [5.0, 5.0]


STATEMENTS = ("import lib; return lib.f()", "from lib import f; return f()", "return (lambda: __import__('lib').f())()")


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_each_parcel_meets_its_own_text(tmp_path: Path, statement: str, dynamic: bool) -> None:
    """Of two folders with modules of one name, in turn, in one process that has imported a third by itself."""
    body = "import importlib; return importlib.import_module('lib').f()" if dynamic else statement
    parcels = {}
    for name in ("one", "two", "three"):
        text = f"def g(): {body}\nif 0:\n    import lib\n"
        write(tmp_path / name, {"mine.py": text, "lib.py": f"def f(): return '{name}'\n"})
        parcels[name] = pack(load(tmp_path / name, "g")[0])
    stale = importlib.util.spec_from_file_location("lib", tmp_path / "three" / "lib.py")
    assert stale is not None and stale.loader is not None
    sys.modules["lib"] = importlib.util.module_from_spec(stale)
    stale.loader.exec_module(sys.modules["lib"])
    (tmp_path / "three" / "lib.py").unlink()
    opened = {}
    for name in ("one", "two", "one"):
        opened[name] = unpack(parcels[name])
        assert opened[name]() == name
    if not dynamic:
        assert opened["two"]() == "two"  # also after another one


def test_what_is_below_a_package_belongs_to_it(tmp_path: Path) -> None:
    text = "def g(name):\n    import importlib\n    import lib\n    return importlib.import_module(f'lib.{name}').f()\n"
    write(tmp_path, {"mine.py": text, "lib/__init__.py": "", "lib/named.py": "def f(): return 5\n"})
    function = load(tmp_path, "g")[0]
    load(tmp_path, "g")[0].__globals__["__builtins__"]["__import__"]("lib.named")
    assert "lib.named" in pack(function).code.modules
    parcel = pack(function)
    (tmp_path / "lib" / "named.py").unlink()
    assert unpack(parcel)("named") == 5


def test_a_module_that_cannot_be_pickled_travels_by_name(tmp_path: Path) -> None:
    text = "import threading\nLOCK = threading.Lock()\ndef f():\n    with LOCK:\n        return 3\n"
    mine = "import lib, other\nfrom lib import f\ndef g(): return f() + lib.f() + other.h()\n"
    write(tmp_path, {"mine.py": mine, "lib.py": text, "other.py": "X = 1\ndef h(): return X\n"})
    function = load(tmp_path, "g")[0]
    function.__globals__["other"].X = 10
    opened = unpack(pack(function))
    assert opened() == 16, "the others by value"
    assert opened.__globals__["lib"].LOCK is not function.__globals__["lib"].LOCK


def test_what_its_file_made_before_it_ran_again_still_travels(tmp_path: Path) -> None:
    text = "import threading, jax\nLOCK = threading.Lock()\n"
    text += "def f():\n    with LOCK:\n        return jax.tree.leaves(Tree(3))\n"
    tree = "class Tree:\n    def __init__(self, a): self.a = a\n"
    tree += "jax.tree_util.register_pytree_node(Tree, lambda tree: ((tree.a,), None), lambda _, parts: Tree(*parts))\n"
    write(tmp_path, {"mine.py": text + tree})
    before = load(tmp_path, "f")[0]
    with imports_anew():
        assert load(tmp_path, "f")[0] is not before
    assert unpack(pack(before))() == [3]


def test_what_no_module_can_be_blamed_for_travels_by_name(tmp_path: Path) -> None:
    text = "import functools\n@functools.singledispatch\ndef f(x): return 1\n@f.register\ndef _(x: int): return 2\n"
    write(tmp_path, {"mine.py": text + "def g(): return f(1.0), f(1)\n"})
    assert unpack(pack(load(tmp_path, "g")[0]))() == (1, 2)


def test_where_functions_were_written_is_known(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": FILE + "import dataclasses\n@dataclasses.dataclass\nclass Made:\n    x: int\n", **LIB})
    script: dict[str, Any] = {"__name__": "__main__", "by_module": load(tmp_path, "by_module")[0]}
    for file in ("/study.py", "<ipython-input-3-a>", "<string>"):
        exec(compile(f"def f{len(script)}(): return by_module()", file, "exec"), script)
    parcel = pack([value for name, value in script.items() if name[0] == "f"] + load(tmp_path, "Made"))
    scopes = ["/study.py", "<ipython-input-3-a>", *(str(tmp_path / each) for each in ("mine.py", "lib/acts.py"))]
    assert set(parcel.files) == {*scopes}
    assert pickle.loads(pickle.dumps(parcel)).files == parcel.files


def test_what_cannot_be_sent_is_named(tmp_path: Path) -> None:
    script = {"__name__": "__main__", "stream": (each for each in ())}
    exec("def loss(): return stream", script)
    with pytest.raises(
        UserError, match=r"'stream' of module '__main__'.*'loss' uses, cannot be sent: cannot pickle 'ge"
    ):
        pack(script["loss"])

    lock = (each for each in ())
    with pytest.raises(UserError, match=r"'lock' in '.*<lambda>' of module.*cannot be sent: cannot pickle 'generator'"):
        pack([1, lambda: lock])


DEEPER = {
    "a global": ("def act(x): return x, lock", "'lock' of module '__main__' (deep.py), which 'act' uses, cannot"),
    "inside": ("def act(x): return [(lambda: lock) for _ in x]", "'lock' of module '__main__' (deep.py), which 'act'"),
    "around": (
        "def around():\n    mine = lock\n    return lambda x: (x, mine)\nact = around()",
        "'mine' in 'around.<locals>.<lambda>' of module '__main__' (deep.py) cannot",
    ),
    "a default": ("def act(x, /, y=0, own=lock, *, z=1): return x", "'own' in 'act' of module '__main__' (deep.py) ca"),
    "by name": ("def act(x, *, own=lock): return x", "'own' in 'act' of module '__main__' (deep.py) cannot"),
    "wrapped": ("import functools\nact = functools.partial(lambda y, x: lock, 1)", "'lock' of module '__main__' (deep"),
    "recursive": (
        "def act(x): return act(x - 1) if x else later(x), lock\ndef later(x): return act(x)",
        "'lock' of module '__main__' (deep.py), which 'act' uses, cannot",
    ),
}


@pytest.mark.parametrize("case", DEEPER)
def test_the_innermost_of_what_cannot_be_sent_is_named(case: str) -> None:
    text, message = DEEPER[case]
    script: dict[str, Any] = {"__name__": "__main__", "lock": threading.Lock()}
    exec(compile(text, "deep.py", "exec"), script)
    act = script["act"]

    def error(x: int) -> Any:
        return act(x)

    with pytest.raises(UserError, match=re.escape(message)):
        pack([lambda: error(1), error])


def test_a_tree_that_others_describe_needs_a_module(tmp_path: Path) -> None:
    text = "import jax\nclass Tree:\n    def __init__(self, a): self.a = a\n"
    text += "jax.tree_util.register_pytree_node(Tree, lambda tree: ((tree.a,), None), lambda _, parts: Tree(*parts))\n"
    text += "def leaves(): return jax.tree.leaves(Tree(3))\n"
    write(tmp_path, {"mine.py": text})
    assert unpack(pack(load(tmp_path, "leaves")[0]))() == [3]
    script = {"__name__": "__main__"}
    exec(text, script)
    with pytest.raises(UserError, match=r"class 'Tree' of '__main__' cannot be sent: .*register_pytree_node_class"):
        pack(script["leaves"])


def test_two_files_of_one_name_in_one_parcel_are_refused(tmp_path: Path) -> None:
    functions = []
    for name in ("one", "two"):
        text = "def g():\n    import lib\n    return lib.f()\n"
        write(tmp_path / name, {"mine.py": text, "lib.py": f"def f(): return '{name}'\n"})
        functions += load(tmp_path / name, "g")
    with pytest.raises(
        UserError, match=r"two files are imported as 'lib': .*lib\.py and .*lib\.py; rename one of them"
    ):
        pack(functions)


def test_cloudpickle_is_left_as_it_was(tmp_path: Path) -> None:
    before = cloudpickle.list_registry_pickle_by_value()
    write(tmp_path, {"mine.py": FILE, **LIB})
    pack(load(tmp_path, "by_module", "inside"))
    assert cloudpickle.list_registry_pickle_by_value() == before


def test_source_and_traceback_are_those_that_travelled(tmp_path: Path) -> None:
    write(
        tmp_path, {"mine.py": "def g():\n    import lib\n    return lib.f\n", "lib.py": "def f(): raise OSError('a')\n"}
    )
    parcel = pack(load(tmp_path, "g")[0])
    write(tmp_path, {"mine.py": "\n\n\n", "lib.py": "\n\n\n"})
    linecache.clearcache()
    opened = unpack(parcel)
    assert inspect.getsource(opened) == "def g():\n    import lib\n    return lib.f\n"
    assert inspect.getsource(opened()) == "def f(): raise OSError('a')\n"
    assert inspect.getmodule(opened()).__file__ == str(tmp_path / "lib.py")  # type: ignore[union-attr]


def test_settings_of_jax_are_handed_on() -> None:
    with jax.default_matmul_precision("float32"):
        parcel = pack(None)
    assert parcel.settings["jax_default_matmul_precision"] == "float32"
    assert jax.config.jax_default_matmul_precision is None  # type: ignore[attr-defined]
    try:
        unpack(parcel)
        assert jax.config.jax_default_matmul_precision == "float32"  # type: ignore[attr-defined]
        unpack(pack(None))
    finally:
        jax.config.update("jax_default_matmul_precision", None)
