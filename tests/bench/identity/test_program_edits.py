"""Edits of one's own code: which of them make another program, and which do not."""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import jax
import pytest

from tests.bench.identity.own_code import identity_of, load

DATA = """
rng = np.random.default_rng(0)
inputs = rng.normal(size=(12, 4)).astype(np.float32)
data = bench.split("rows", {"inputs": inputs, "targets": (inputs.sum(axis=1) > 0).astype(np.int32)})
cross_entropy = optax.softmax_cross_entropy_with_integer_labels
"""
IMPORTS = """
import functools, json, logging, math, os
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np, optax, pandas as pd
from dlkit import bench
"""
PLAIN = {
    "study.py": '"""A study of mine."""'
    + IMPORTS
    + """
import lib.acts
from lib.acts import act
"""
    + DATA
    + '''
SCALE = 0.5
TABLE = np.array([1.0, 2.0, 3.0], np.float32)
ACTS = [jax.nn.relu, jnp.tanh, jax.nn.relu]
PAIR = (jnp.sin, jnp.cos)
NAMED = {"first": jnp.sinh, "second": jnp.cosh}
STEEP = functools.partial(jax.nn.leaky_relu, negative_slope=0.1)
HERE = Path(__file__).parent
log = logging.getLogger("study")

def power(exponent):
    def raised(x):
        return x ** exponent
    return raised

CUBE = power(3)

class Layer:
    """A layer with a gain."""
    gain = 2.0
    def __init__(self, width):
        self.width = width
    def __call__(self, params, x):
        return x @ params * self.gain

class Deep(Layer):
    def __call__(self, params, x):
        return super().__call__(params, x) + 0.5

layer = Deep(3)

def halved(function):
    @functools.wraps(function)
    def wrapped(*arguments):
        return function(*arguments) / 2
    return wrapped

@halved
def squashed(x):
    return jnp.arctan(x)

@jax.custom_vjp
def clipped(x):
    return x
clipped.defvjp(lambda x: (x, None), lambda _, gradient: (jnp.clip(gradient, -1.0, 1.0),))

@jax.custom_jvp
def straight(x):
    return jnp.round(x)
straight.defjvp(lambda points, directions: (straight(*points), directions[0] * 1.0))

@functools.partial(jax.jit, static_argnames="mode")
def jitted(x, mode):
    return x + 1 if mode == "up" else x - 1

def scaled(x, factor=1.5, *, offset=0.25):
    return x * factor + offset

def with_helpers(x):
    from lib.acts import bend
    x = lib.acts.curve(x) + act(x)
    return bend(x)

def with_files(x):
    setting = json.loads((HERE / "settings.json").read_text())["setting"]
    weights = pd.read_csv(HERE / "weights.csv")["weight"].to_numpy(np.float32)
    return x * setting * weights * float(os.environ.get("OWN_FACTOR", "1"))

def features(params, x):
    for each, activation in zip(params["layers"], ACTS):
        x = activation(layer(each, x))
    x = PAIR[0](x) + PAIR[1](x) + NAMED["first"](x)
    x = STEEP(x) + CUBE(x) + squashed(x) + clipped(x) + straight(x)
    x = jitted(x, "up") * SCALE + scaled(x)
    first = jnp.tan(x)
    second = jnp.exp(-x)
    assert x.shape[-1] == 3
    return with_files(with_helpers(first * second)) + TABLE

def init(key):
    """Where it starts."""
    key_first, key_second = jax.random.split(key)
    first = 0.1 * jax.random.normal(key_first, (4, 3))
    rest = [jax.random.uniform(jax.random.fold_in(key_second, i), (3, 3)) for i in range(2)]
    zero = jnp.zeros(3)
    return {"layers": [first, *rest], "bias": zero}, {"mean": zero}

def loss(params, state, batch, key):
    log.info("tracing")
    # The loss of a batch.
    logits = features(params, batch["inputs"]) + params["bias"]
    noise = 0.01 * jax.random.normal(key, logits.shape)
    mean = 0.9 * state["mean"] + 0.1 * logits.mean(axis=0)
    def body(total, each):
        return total + jnp.square(each).sum(), None
    penalty, _ = jax.lax.scan(body, 0.0, logits)
    return cross_entropy(logits + noise, batch["targets"]).mean() + 1e-3 * penalty, {"mean": mean}

def evaluate(params, state, batch):
    logits = features(params, batch["inputs"]) - state["mean"]
    accuracy = (logits.argmax(axis=-1) == batch["targets"]).mean()
    size = jnp.abs(logits).max()
    return {"accuracy": accuracy, "size": size}

def reestimate(params, state, train):
    return {"mean": features(params, train["inputs"]).mean(axis=0)}

def unused(x):
    return x + 1

def problem():
    metrics = {"accuracy": bench.Metric("higher"), "size": bench.Metric("lower")}
    return bench.Problem(
        name="mine", init=init, loss=loss, evaluate=evaluate, dataset=data, metrics=metrics, batch_size=4,
        reestimate=reestimate,
    )
''',
    "lib/__init__.py": "",
    "lib/acts.py": """
import jax.numpy as jnp
SHARP = 3.0
def act(x):
    return jnp.log1p(jnp.abs(x))
def curve(x):
    return x + jnp.sin(x * SHARP)
def bend(x):
    return jnp.where(x > 0, x, 0.3 * x)
""",
    "settings.json": '{"setting": 2.5, "name": "first"}',
    "weights.csv": "weight,name\n1.0,a\n2.0,b\n3.0,c\n",
}
LINEN = {
    "study.py": IMPORTS
    + "from flax import linen as nn\n"
    + DATA
    + """
class Net(nn.Module):
    width: int = 3
    rate: float = 0.1
    @nn.compact
    def __call__(self, x, train):
        x = nn.Sequential([nn.Dense(self.width), nn.relu, nn.Dense(3), jnp.tanh, nn.Dense(3), nn.relu])(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dense(2, kernel_init=nn.initializers.normal(0.1))(nn.Dropout(self.rate)(x, deterministic=not train))
def problem():
    return bench.problem_from_flax(Net(), data, cross_entropy, batch_size=4)
"""
}
NNX = {
    "study.py": IMPORTS
    + "from flax import nnx\n"
    + DATA
    + """
class Net(nnx.Module):
    def __init__(self, width, rngs):
        self.layers = nnx.Sequential(
            nnx.Linear(4, width, rngs=rngs), jax.nn.relu, nnx.Linear(width, 3, rngs=rngs), jnp.tanh,
            nnx.Linear(3, 2, rngs=rngs), jax.nn.relu,
        )
        self.gain = 0.5
    def __call__(self, x):
        return self.layers(x) * self.gain
def problem():
    return bench.problem_from_flax(lambda rngs: Net(3, rngs), data, cross_entropy, batch_size=4)
"""
}
EQUINOX = {
    "study.py": IMPORTS
    + "import equinox as eqx\n"
    + DATA
    + """
class Net(eqx.Module):
    layers: list
    acts: tuple = eqx.field(static=True)
    gain: float = eqx.field(static=True)
    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.layers = [eqx.nn.Linear(4, 3, key=keys[0]), *(eqx.nn.Linear(3, 3, key=each) for each in keys[1:])]
        self.acts = (jax.nn.relu, jnp.tanh, jax.nn.relu)
        self.gain = 0.5
    def __call__(self, x):
        for layer, act in zip(self.layers, self.acts):
            x = act(layer(x))
        return x * self.gain
def problem():
    return bench.problem_from_equinox(Net, data, cross_entropy, batch_size=4)
"""
}
HAIKU = {
    "study.py": IMPORTS
    + "import haiku as hk\n"
    + DATA
    + """
def network(x):
    layers = [hk.Linear(3), jax.nn.relu, hk.Linear(3), jnp.tanh, hk.Linear(3), jax.nn.relu]
    scale = hk.get_parameter("scale", (3,), init=hk.initializers.Constant(1.5))
    return hk.Sequential(layers)(x) * scale
def problem():
    return bench.problem_from_haiku(hk.transform(network), data, cross_entropy, batch_size=4)
"""
}
OPTIMIZER = {
    "study.py": IMPORTS
    + """
WARM = 10
def step_size(rate):
    return lambda count: rate * jnp.minimum(1.0, count / WARM)
def centred():
    def update(updates, state, params=None):
        return jax.tree.map(lambda each: each - each.mean(), updates), state + 1
    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
def optimizer(learning_rate):
    return optax.chain(
        optax.clip_by_global_norm(1.0), centred(), optax.scale_by_adam(b2=0.999), optax.add_decayed_weights(1e-4),
        optax.scale_by_learning_rate(step_size(learning_rate)),
    )
def schedule(step, horizon):
    return jnp.where(step < 0.1 * horizon, step / (0.1 * horizon), jnp.cos(0.5 * math.pi * step / horizon))
"""
}
GAME = {
    "study.py": IMPORTS
    + DATA
    + """
def drawn(params, state, batch, key):
    return (params["one"] * params["two"]).sum() + 0.5 * jnp.square(params["one"]).sum(), state
def opposed(params, state, batch, key):
    return -drawn(params, state, batch, key)[0], state
def problem():
    return bench.Problem(
        name="game", init=lambda key: ({"one": jnp.ones(3), "two": jnp.ones(3)}, None), loss=drawn,
        evaluate=lambda params, state, batch: {"size": jnp.abs(params["one"]).sum()},
        dataset=bench.Dataset("none", {}, {}), metrics={"size": bench.Metric("lower")}, diverged_above=1e38,
        players=[bench.Player("one", drawn), bench.Player("two", opposed)],
    )
"""
}
BASES = {
    "plain": PLAIN, "linen": LINEN, "nnx": NNX, "equinox": EQUINOX, "haiku": HAIKU, "optimizer": OPTIMIZER, "game": GAME
}  # fmt: skip


class Edit(NamedTuple):
    """One text in place of another, in one file of one of `BASES`."""

    base: str
    name: str
    before: str
    after: str
    changes: bool
    file: str = "study.py"


SUMMED = ("first = jnp.tan(x)", "second = jnp.exp(-x)")
CHANGES = (
    ("plain", "an activation in a list", "[jax.nn.relu, jnp.tanh, jax.nn.relu]", "[jax.nn.relu, jnp.tanh, jnp.tanh]"),
    ("plain", "an activation in a tuple", "(jnp.sin, jnp.cos)", "(jnp.sin, jnp.sin)"),
    ("plain", "an activation in a dictionary", '"first": jnp.sinh', '"first": jnp.cosh'),
    ("plain", "an argument of a partial", "negative_slope=0.1", "negative_slope=0.2"),
    ("plain", "the function of a partial", "partial(jax.nn.leaky_relu, negative_slope", "partial(jax.nn.elu, alpha"),
    ("plain", "a value in a closure", "power(3)", "power(4)"),
    ("plain", "a class's attribute", "gain = 2.0", "gain = 2.5"),
    ("plain", "a method of a base class", "x @ params * self.gain", "x @ params / self.gain"),
    ("plain", "a method of a class", "+ 0.5\n", "+ 0.75\n"),
    ("plain", "the class of an object", "layer = Deep(3)", "layer = Layer(3)"),
    ("plain", "what a decorator does", "function(*arguments) / 2", "function(*arguments) / 3"),
    ("plain", "a decorator taken away", "@halved\n", ""),
    ("plain", "the rule of a custom_vjp", "jnp.clip(gradient, -1.0, 1.0)", "jnp.clip(gradient, -2.0, 1.0)"),
    ("plain", "the rule of a custom_jvp", "directions[0] * 1.0", "directions[0] * 2.0"),
    ("plain", "a custom_jvp taken away", "straight(x)\n    x = jitted", "jnp.round(x)\n    x = jitted"),
    ("plain", "a static argument", 'jitted(x, "up")', 'jitted(x, "down")'),
    ("plain", "a jitted helper", "return x + 1 if mode", "return x + 2 if mode"),
    ("plain", "a default", "factor=1.5", "factor=1.25"),
    ("plain", "a default by keyword", "offset=0.25", "offset=0.5"),
    ("plain", "a global constant", "SCALE = 0.5", "SCALE = 0.25"),
    ("plain", "an entry of a global array", "[1.0, 2.0, 3.0]", "[1.0, 2.0, 3.5]"),
    ("plain", "the shape of a global array", "[1.0, 2.0, 3.0]", "[1.0]"),
    ("plain", "the type of a global array", "3.0], np.float32)", "3.0], np.float16)"),
    ("plain", "zero's sign", "np.array([1.0, 2.0, 3.0]", "np.array([-0.0, 2.0, 3.0]"),
    ("plain", "a helper of a module", "x + jnp.sin(x * SHARP)", "x - jnp.sin(x * SHARP)", "lib/acts.py"),
    ("plain", "a constant of a module", "SHARP = 3.0", "SHARP = 4.0", "lib/acts.py"),
    ("plain", "a function imported by name", "jnp.log1p(jnp.abs(x))", "jnp.log1p(x * x)", "lib/acts.py"),
    ("plain", "a function imported inside of another", "0.3 * x", "0.4 * x", "lib/acts.py"),
    ("plain", "a JSON file", '"setting": 2.5', '"setting": 2.75', "settings.json"),
    ("plain", "an entry of a data frame", "3.0,c", "3.5,c", "weights.csv"),
    ("plain", "the environment", 'get("OWN_FACTOR", "1")', 'get("OWN_FACTOR", "3")'),
    ("plain", "the scale of initial parameters", "0.1 * jax.random.normal", "0.2 * jax.random.normal"),
    ("plain", "their distribution", "0.1 * jax.random.normal", "0.1 * jax.random.uniform"),
    ("plain", "how keys are split", "key_first, key_second = jax", "key_second, key_first = jax"),
    ("plain", "what is folded into a key", "fold_in(key_second, i)", "fold_in(key_second, i + 1)"),
    ("plain", "the sign of a penalty", "+ 1e-3 * penalty", "- 1e-3 * penalty"),
    ("plain", "the body of a loop", "jnp.square(each).sum()", "jnp.abs(each).sum()"),
    ("plain", "what a loop starts from", "scan(body, 0.0, logits)", "scan(body, 1.0, logits)"),
    ("plain", "the momentum of a running mean", "0.9 * state", "0.8 * state"),
    ("plain", "the noise of a step", "0.01 * jax", "0.02 * jax"),
    ("plain", "a metric", "jnp.abs(logits).max()", "jnp.abs(logits).min()"),
    ("plain", "how batch statistics are estimated again", '["inputs"]).mean(axis=0)', '["inputs"]).min(axis=0)'),
    ("plain", "the data", "default_rng(0)", "default_rng(1)"),
    ("plain", "the labels", "inputs.sum(axis=1) > 0", "inputs.sum(axis=1) > 1"),
    ("plain", "the order of the operands", "first * second)", "second / first)"),
    # Their gradients are then added in another order, which may change the last bits.
    ("plain", "the order of statements", *(f"    {a}\n    {b}\n" for a, b in (SUMMED, SUMMED[::-1]))),
    ("plain", "a gradient that is stopped", "first * second)", "first * jax.lax.stop_gradient(second))"),
    (
        "plain",
        "a precision",
        "return x @ params * self.gain",
        'return jnp.dot(x, params, precision="highest") * self.gain',
    ),
    ("linen", "an activation in Sequential", "nn.Dense(3), nn.relu])", "nn.Dense(3), jnp.tanh])"),
    ("linen", "a width", "width: int = 3", "width: int = 5"),
    ("linen", "a rate of dropout", "rate: float = 0.1", "rate: float = 0.2"),
    ("linen", "a momentum", "momentum=0.9", "momentum=0.8"),
    ("linen", "the scale of initial weights", "normal(0.1)", "normal(0.2)"),
    ("nnx", "an activation in Sequential", "rngs=rngs), jax.nn.relu,\n", "rngs=rngs), jnp.tanh,\n"),
    ("nnx", "an attribute", "gain = 0.5", "gain = 0.75"),
    ("nnx", "an argument", "Net(3, rngs)", "Net(5, rngs)"),
    ("equinox", "an activation in a tuple", "jnp.tanh, jax.nn.relu)", "jnp.tanh, jnp.tanh)"),
    ("equinox", "a static field", "gain = 0.5", "gain = 0.75"),
    ("equinox", "a layer without bias", "eqx.nn.Linear(4, 3, key", "eqx.nn.Linear(4, 3, use_bias=False, key"),
    ("haiku", "an activation in Sequential", "hk.Linear(3), jax.nn.relu]", "hk.Linear(3), jnp.tanh]"),
    ("haiku", "an initial value", "Constant(1.5)", "Constant(2.5)"),
    ("optimizer", "the learning rate in a closure", "rate * jnp.minimum", "rate * jnp.maximum"),
    ("optimizer", "a constant that the closure uses", "WARM = 10", "WARM = 20"),
    ("optimizer", "a transformation of one's own", "each - each.mean()", "each - each.max()"),
    ("optimizer", "the state of a transformation", "state + 1", "state + 2"),
    ("optimizer", "a setting in a chain", "b2=0.999", "b2=0.99"),
    (
        "optimizer",
        "the order of a chain",
        "clip_by_global_norm(1.0), centred()",
        "identity(), centred(), optax.clip(1.0)",
    ),
    ("optimizer", "one more in a chain", "centred(), ", "centred(), optax.sign_sgd(1.0), "),
    ("optimizer", "a schedule", "jnp.cos(0.5", "jnp.sin(0.5"),
    ("optimizer", "a constant of a schedule", "step / (0.1", "step / (0.2"),
    ("game", "the loss of a player", "return -drawn", "return -2 * drawn"),
    ("game", "the loss of all players", "+ 0.5 * jnp", "+ 0.25 * jnp"),
)
TWO = (
    "noise = 0.01 * jax.random.normal(key, logits.shape)",
    'mean = 0.9 * state["mean"] + 0.1 * logits.mean(axis=0)',
)
DEFINED = ("TABLE = np.array([1.0, 2.0, 3.0], np.float32)", "ACTS = [jax.nn.relu, jnp.tanh, jax.nn.relu]")
FIRST = "    first = jnp.tan(x)\n"
STAYS = (
    ("plain", "a comment", "# The loss of a batch.", "# What a step minimises."),
    ("plain", "a docstring", '"""Where it starts."""', '"""The start."""'),
    ("plain", "a docstring of a module", '"""A study of mine."""', '"""Another."""'),
    ("plain", "a docstring of a class", '"""A layer with a gain."""\n', "\n"),
    ("plain", "formatting", "params, state, batch, key):", "\n    params,\n    state,\n    batch,\n    key,\n):"),
    ("plain", "a variable", "noise", "disturbance"),
    ("plain", "a function", "with_helpers", "using_helpers"),
    ("plain", "a variable of a loop", "activation", "bent"),
    ("plain", "a class", "Deep", "Deeper"),
    ("plain", "a key of a dictionary", '"first"', '"one"'),
    (
        "plain",
        "a dictionary's order",
        '"layers": [first, *rest], "bias": zero',
        '"bias": zero, "layers": [first, *rest]',
    ),
    ("plain", "the order of metrics", '{"accuracy": accuracy, "size": size}', '{"size": size, "accuracy": accuracy}'),
    ("plain", "the order of independent statements", *(f"    {a}\n    {b}\n" for a, b in (TWO, TWO[::-1]))),
    ("plain", "the order of definitions", *(f"{a}\n{b}\n" for a, b in (DEFINED, DEFINED[::-1]))),
    ("plain", "annotations", "def init(key):", "def init(key: jax.Array) -> tuple[dict, dict]:"),
    ("plain", "dead code", FIRST, "    jnp.linalg.inv(x.T @ x)\n" + FIRST),
    ("plain", "a branch that is never taken", FIRST, "    if False:\n        x = x + 1\n" + FIRST),
    ("plain", "an assertion", "    assert x.shape[-1] == 3\n", "    assert x.ndim == 2\n"),
    ("plain", "an assertion taken away", "    assert x.shape[-1] == 3\n", ""),
    ("plain", "a message", 'log.info("tracing")', 'log.info("looking at %s", batch)'),
    ("plain", "a function that is not used", "def unused(x):\n    return x + 1", "def unused(x):\n    return x + 2"),
    ("plain", "a name of what is computed", FIRST, "    with jax.named_scope('tangent'):\n    " + FIRST),
    (
        "plain",
        "a value kept in a variable",
        "x = STEEP(x) + CUBE(x)",
        "steep, cube = STEEP(x), CUBE(x)\n    x = steep + cube",
    ),
    ("plain", "a function of its own", "first * second)", "(lambda a, b: a * b)(first, second))"),
    ("plain", "a jitted function of its own", "first * second)", "jax.jit(jnp.multiply)(first, second))"),
    ("plain", "another name for the same", "first * second)", "jnp.multiply(first, second))"),
    ("plain", "a loop written out", "for i in range(2)]", "for i in (0, 1)]"),
    ("plain", "a constant by computing it", "SCALE = 0.5", "SCALE = 1 / 2"),
    ("plain", "a name in a file", '"name": "first"', '"name": "second"', "settings.json"),
    ("plain", "a column that is not used", "1.0,a", "1.0,z", "weights.csv"),
    ("plain", "a comment in a helper", "def act(x):", "# bends\ndef act(x):", "lib/acts.py"),
    ("plain", "metadata", 'name="mine"', 'name="mine", description="A line for lists."'),
    ("linen", "an import", "from flax import linen as nn", "import flax.linen as nn"),
    ("linen", "the class", "Net", "Network"),
    ("nnx", "the class", "Net", "Network"),
    ("equinox", "the class", "Net", "Network"),
    ("equinox", "a list in place of a tuple", "acts: tuple", "acts: list"),
    ("haiku", "a function", "network", "model"),
    ("optimizer", "a function", "step_size", "warmed_up"),
    ("optimizer", "an import", "import jax, jax.numpy as jnp", "from jax import numpy as jnp; import jax"),
    ("game", "a function", "opposed", "against"),
)
EDITS = [Edit(*row[:4], changes, *row[4:]) for rows, changes in ((CHANGES, True), (STAYS, False)) for row in rows]


@pytest.fixture(scope="module", autouse=True)
def broadcasting() -> Iterator[None]:
    """As in a user's process, not as in this session."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module", autouse=True)
def imports() -> Iterator[None]:
    """Leaves nothing imported under names that other tests use for their own files."""
    modules = {*sys.modules}
    yield
    own = {path.partition("/")[0].removesuffix(".py") for files in BASES.values() for path in files}
    for name in {*sys.modules} - modules:
        if name.partition(".")[0] in own:
            del sys.modules[name]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The identity of every base, as it is before an edit."""
    yield {name: identity_of(load(tmp_path_factory.mktemp("before"), files)) for name, files in BASES.items()}


def after(edit: Edit) -> dict[str, str]:
    files = dict(BASES[edit.base])
    assert edit.before in files[edit.file]
    return {**files, edit.file: files[edit.file].replace(edit.before, edit.after)}


@pytest.mark.long
@pytest.mark.parametrize("edit", EDITS, ids=[f"{each.base}-{each.name}" for each in EDITS])
def test_an_edit_changes_the_identity_if_and_only_if_it_changes_the_program(edit, before, tmp_path) -> None:
    assert (identity_of(load(tmp_path, after(edit))) != before[edit.base]) == edit.changes


def test_the_table_is_long() -> None:
    assert sum(edit.changes for edit in EDITS) >= 60 and sum(not edit.changes for edit in EDITS) >= 30
    assert len({(edit.base, edit.before, edit.after) for edit in EDITS}) == len(EDITS)


@pytest.mark.long
def test_where_code_stands_does_not_count(before, tmp_path) -> None:
    moved = {**PLAIN, "mine/other.py": PLAIN["study.py"]}
    for path in ("settings.json", "weights.csv"):
        moved[f"mine/{path}"] = moved.pop(path)
    assert identity_of(load(tmp_path, moved, "mine.other")) == before["plain"]
    helpers = PLAIN["study.py"].replace("lib.acts", "tools.acts")
    renamed = {path.replace("lib", "tools"): text for path, text in PLAIN.items()} | {"study.py": helpers}
    assert identity_of(load(tmp_path, renamed)) == before["plain"]


@pytest.mark.long
def test_the_environment_counts_where_a_function_reads_it(before, tmp_path, monkeypatch) -> None:
    module = load(tmp_path, PLAIN)
    monkeypatch.setenv("OWN_FACTOR", "2")
    assert identity_of(module) != before["plain"]
    monkeypatch.setenv("OWN_FACTOR", "1")
    assert identity_of(module) == before["plain"]
