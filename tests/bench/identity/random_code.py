"""Small random models as the text of a user's files, and random edits of them."""

import dataclasses
import random
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Code", "edit", "random_code"]

ACTIVATIONS = ("jnp.tanh", "jax.nn.relu", "jnp.sin", "jax.nn.softplus", "jax.nn.silu", "jnp.arctan")
NUMBERS = ("0.5", "0.75", "1.25", "-1.5", "3.0")


@dataclass(frozen=True)
class Kind:
    """A kind of step of a model.

    Attributes:
        options: the choices an instance of it has.
        call: what it does to ``x`` [rows, 3]; ``{i}`` is the number of the step, ``{o}`` the chosen option.
        study: what the module of the study defines for it.
        helpers: what the module of helpers defines for it.
        settings: what the file of settings holds for it.
    """

    options: tuple[str, ...]
    call: str
    study: str = ""
    helpers: str = ""
    settings: str = ""


TABLES = ("[1.0, 2.0, 3.0]", "[1.0, 2.0, 3.5]", "[0.0, 2.0, 3.0]", "[-0.0, 2.0, 3.0]", "[2.5]")
OPERATIONS = ("a + b", "a - b", "b - a", "a * b", "jnp.maximum(a, b)")
KINDS = {
    "weights": Kind(("x @ w", "x @ w.T", "jnp.sin(x @ w)"), "w = params['w']\nx = {o}"),
    "list": Kind(ACTIVATIONS, "x = LIST{i}[1](x)", "LIST{i} = [jnp.cos, {o}, jnp.cos]"),
    "tuple": Kind(ACTIVATIONS, "for each in TUPLE{i}:\n    x = each(x)", "TUPLE{i} = (jnp.tanh, {o})"),
    "dictionary": Kind(ACTIVATIONS, "x = NAMED{i}['b'](x)", "NAMED{i} = {{'a': jnp.cos, 'b': {o}}}"),
    "partial": Kind(
        NUMBERS,
        "x = part{i}(x)",
        "part{i} = functools.partial(lambda factor, x: jnp.tanh(x * factor), {o})",
    ),
    "closure": Kind(
        ("2", "3", "4"),
        "x = power{i}(x)",
        "def raised_to{i}(n):\n    def raise_it(x):\n        return jnp.tanh(x) ** n\n    return raise_it\n"
        "power{i} = raised_to{i}({o})",
    ),
    "attribute": Kind(
        NUMBERS,
        "x = Layer{i}()(x)",
        "class Base{i}:\n    gain = {o}\nclass Layer{i}(Base{i}):\n    def __call__(self, x):\n"
        "        return jnp.cos(x) * self.gain",
    ),
    "decorator": Kind(
        ("inner(x) / 3", "inner(x / 3)", "inner(inner(x))", "x + inner(x)"),
        "x = bent{i}(x)",
        "def wrap{i}(inner):\n    @functools.wraps(inner)\n    def wrapped(x):\n        return {o}\n"
        "    return wrapped\n@wrap{i}\ndef bent{i}(x):\n    return jnp.sinh(x)",
    ),
    "rule of a vjp": Kind(
        ("gradient", "-gradient", "gradient * 0.5", "jnp.clip(gradient, -1.0, 1.0)", "gradient * residual"),
        "x = pulled{i}(x)",
        "@jax.custom_vjp\ndef pulled{i}(x):\n    return jnp.round(x * 4) / 4\n"
        "pulled{i}.defvjp(lambda x: (pulled{i}(x), x), lambda residual, gradient: ({o},))",
    ),
    "rule of a jvp": Kind(
        ("direction", "direction * 0.5", "direction * jnp.cos(point)"),
        "x = pushed{i}(x)",
        "@jax.custom_jvp\ndef pushed{i}(x):\n    return jnp.floor(x * 4) / 4\n@pushed{i}.defjvp\n"
        "def rule{i}(points, directions):\n    (point,), (direction,) = points, directions\n"
        "    return pushed{i}(point), {o}",
    ),
    "static": Kind(
        ("'up'", "'down'", "'out'"),
        "x = moved{i}(x, {o})",
        "@functools.partial(jax.jit, static_argnums=1)\ndef moved{i}(x, mode):\n"
        "    return x + 0.5 if mode == 'up' else x - 0.5 if mode == 'down' else jnp.exp(-x * x)",
    ),
    "constant": Kind(NUMBERS, "x = jnp.tan(x) * SCALE{i}", "SCALE{i} = {o}"),
    "table": Kind(TABLES, "x = jnp.tanh(x) + TABLE{i}", "TABLE{i} = np.array({o}, np.float32)"),
    "default": Kind(NUMBERS, "x = scaled{i}(x)", "def scaled{i}(x, factor={o}):\n    return jnp.sin(x * factor)"),
    "helper": Kind(NUMBERS, "x = {h}.helper{i}(x)", helpers="def helper{i}(x):\n    return jnp.log1p(x * x) * {o}"),
    "constant of a helper": Kind(
        NUMBERS,
        "from {h} import used{i}\nx = used{i}(x)",
        helpers="SHARP{i} = {o}\n@jax.jit\ndef used{i}(x):\n    return jnp.sin(x * SHARP{i})",
    ),
    "file": Kind(
        NUMBERS, "x = jnp.cos(x) * json.loads((HERE / 'settings.json').read_text())['s{i}']", settings='"s{i}": {o}'
    ),
    "scan": Kind(
        ("2", "3", "4"), "x, _ = jax.lax.scan(lambda c, _: (jnp.sin(c) + params['w'][0], None), x, None, length={o})"
    ),
    "body of a scan": Kind(
        OPERATIONS,
        "x, outputs{i} = jax.lax.scan(body{i}, x, params['w'])",
        "def body{i}(a, b):\n    return jnp.tanh({o}), (a * b).sum()",
    ),
    "loop": Kind(
        NUMBERS, "x = jax.lax.stop_gradient(jax.lax.while_loop(lambda c: c.sum() > {o}, lambda c: c - 1.0, x))"
    ),
    "branch": Kind(ACTIVATIONS, "x = jax.lax.cond(x.sum() > 0.5, jnp.cos, lambda x: {o}(x), x)"),
    "where": Kind(NUMBERS, "x = jnp.where(x > 0.25, x, {o} * x)"),
    "norm": Kind(("0", "1"), "x = (x - x.mean({o}, keepdims=True)) / (1.0 + x.std({o}, keepdims=True))"),
    "precision": Kind(("float32", "bfloat16", "float16"), "x = jnp.exp(-x * x).astype('{o}').astype('float32')"),
    "stopped": Kind(("x", "jax.lax.stop_gradient(x)", "jnp.sign(x)"), "x = jnp.sin(x) * {o}"),
    "checkpoint": Kind(
        ("jax.checkpoint", "jax.jit", "", "jax.named_scope('here')"), "x = {o}(lambda x: jnp.sin(jnp.sin(x)))(x)"
    ),
    "noise": Kind(
        ("normal", "uniform", "gumbel"), "x = x + 0.1 * jax.random.{o}(jax.random.fold_in(key, {i}), x.shape)"
    ),
    "callback": Kind(
        NUMBERS,
        "x = x * jax.pure_callback(host{i}, jax.ShapeDtypeStruct((), 'float32'), jax.lax.stop_gradient(x.sum()))",
        "def host{i}(x):\n    return np.float32(np.sin(x) + {o})",
    ),
}
# What stands in the code and does nothing: (name, how many of it there are).
STYLES = {
    "comments": 3,
    "docstrings": 3,
    "dead code": 3,
    "branches never taken": 2,
    "assertions": 2,
    "blank lines": 3,
    "annotations": 2,
    "variables": 3,
    "functions": 3,
    "helpers": 2,
    "unused functions": 3,
    "order of definitions": 4,
    "order of keys": 2,
    "order of statements": 2,
    "messages": 3,
    "brackets": 2,
    "shapes": 4,
    "order of factors": 2,
}
CHOICES = {
    "data": 3,
    "width of initial weights": 3,
    "distribution of initial weights": 2,
    "split of a key": 2,
    "penalty": 3,
    "loss": 2,
    "metric": 3,
    "state": 3,
}


@dataclass(frozen=True)
class Code:
    """A model: its steps, each of a kind with an option; what else was chosen; how it is written."""

    steps: tuple[tuple[str, str], ...]
    choices: tuple[tuple[str, int], ...]
    styles: tuple[tuple[str, int], ...]

    def files(self) -> dict[str, str]:
        """The files of the study: path -> text."""
        return _Writer(self).files()


def random_code(rng: random.Random) -> Code:
    """Draws a model."""
    steps = tuple(_step(rng) for _ in range(rng.randint(2, 5)))
    return Code(
        steps,
        tuple((name, rng.randrange(count)) for name, count in CHOICES.items()),
        tuple((name, rng.randrange(count)) for name, count in STYLES.items()),
    )


def edit(code: Code, rng: random.Random) -> tuple[str, Code]:
    """Draws an edit: what it is of, and the code after it."""
    edits: list[tuple[int, Callable[[], tuple[str, Code]]]] = [
        (6, lambda: _edit_style(code, rng)),
        (3, lambda: _edit_choice(code, rng)),
        (5, lambda: _edit_option(code, rng)),
        (3, lambda: _edit_structure(code, rng)),
    ]
    weights, functions = zip(*edits, strict=True)
    return rng.choices(functions, weights)[0]()


def _step(rng: random.Random) -> tuple[str, str]:
    kind = rng.choice([*KINDS])
    return kind, rng.choice(KINDS[kind].options)


def _edit_style(code: Code, rng: random.Random) -> tuple[str, Code]:
    name, styles = _another(code.styles, STYLES, rng)
    return f"style: {name}", dataclasses.replace(code, styles=styles)


def _edit_choice(code: Code, rng: random.Random) -> tuple[str, Code]:
    name, choices = _another(code.choices, CHOICES, rng)
    return f"choice: {name}", dataclasses.replace(code, choices=choices)


def _another(
    chosen: tuple[tuple[str, int], ...], counts: dict[str, int], rng: random.Random
) -> tuple[str, tuple[tuple[str, int], ...]]:
    name = rng.choice([*counts])
    old = dict(chosen)
    new = rng.choice([index for index in range(counts[name]) if index != old[name]])
    return name, tuple((old | {name: new}).items())


def _edit_option(code: Code, rng: random.Random) -> tuple[str, Code]:
    position = rng.randrange(len(code.steps))
    kind, option = code.steps[position]
    other = rng.choice([each for each in KINDS[kind].options if each != option])
    steps = (*code.steps[:position], (kind, other), *code.steps[position + 1 :])
    return f"option: {kind}", dataclasses.replace(code, steps=steps)


def _edit_structure(code: Code, rng: random.Random) -> tuple[str, Code]:
    steps = [*code.steps]
    position = rng.randrange(len(steps))
    what = rng.choice(["insert", "replace"] + ["delete", "swap"] * (len(steps) > 1))
    if what == "swap":
        other = (position + 1) % len(steps)
        steps[position], steps[other] = steps[other], steps[position]
    else:
        new = [] if what == "delete" else [_step(rng)]
        steps[position : position + (what != "insert")] = new
    return f"structure: {what}", dataclasses.replace(code, steps=tuple(steps))


STUDY = '''"""A study{docs}."""
import functools, json, logging, os
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
import {helpers}

HERE = Path(__file__).parent
log = logging.getLogger(__name__)

{definitions}

def {features}(params, x, key){annotation}:
    """What the model makes of x{docs}."""
{body}
    return x

def init(key):
    key_a, key_b = {split}
    w = {width} * jax.random.{distribution}(key_a, (3, 3))
    return {params}, {{"mean": jax.random.normal(key_b, (3,))}}

def loss(params, state, batch, key):
    {message}
    {outputs} = {features}(params, batch["inputs"], key) + params["b"]
{statements}
    return value + {penalized}, {{"mean": mean}}

def evaluate(params, state, batch):
    {outputs} = {features}(params, batch["inputs"], jax.random.key(3)) - state["mean"]
    return {{"metric": {metric}}}

def step(params, state, batch, key):
    trained = jax.value_and_grad(loss, has_aux=True)(params, state, batch, key)
    return {{"trained": trained, "metrics": evaluate(params, state, batch)}}

DATA = {{"inputs": np.random.default_rng({data}).normal(size=(4, 3)).astype(np.float32)}}
'''


class _Writer:
    """Writes a model as files."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.style = dict(code.styles)
        self.choice = dict(code.choices)
        self.helpers = ("lib.acts", "tools")[self.style["helpers"]]

    def files(self) -> dict[str, str]:
        """Path -> text."""
        style, choice = self.style, self.choice
        outputs = ("logits", "y", "predictions")[style["variables"]]
        filled = STUDY.format(
            docs=("", " of mine", ", again")[style["docstrings"]],
            helpers=self.helpers,
            definitions=self.definitions(),
            features=("features", "network", "f")[style["functions"]],
            annotation=("", " -> jax.Array")[style["annotations"]],
            body=textwrap.indent("\n".join(self.body()), "    "),
            split=("jax.random.split(key)", "jax.random.split(key)[::-1]")[choice["split of a key"]],
            width=("0.1", "0.2", "0.5")[choice["width of initial weights"]],
            distribution=("normal", "uniform")[choice["distribution of initial weights"]],
            params=('{"w": w, "b": jnp.zeros(3)}', '{"b": jnp.zeros(3), "w": w}')[style["order of keys"]],
            message=("pass", 'log.info("loss")', 'log.debug("the loss of %s", batch)')[style["messages"]],
            outputs=outputs,
            statements=textwrap.indent(self.statements(outputs), "    "),
            penalized=" * ".join(self.penalized()),
            metric=(f"jnp.abs({outputs}).max()", f"{outputs}.std()", f"({outputs} > 0).mean()")[choice["metric"]],
            data=choice["data"],
        )
        numbers = [KINDS[kind].settings.format(i=i, o=option) for i, (kind, option) in enumerate(self.code.steps)]
        settings = ", ".join([*filter(None, numbers), f'"name": {style["messages"]}'])
        helpers = [KINDS[kind].helpers.format(i=i, o=option) for i, (kind, option) in enumerate(self.code.steps)]
        path = self.helpers.replace(".", "/") + ".py"
        package = {"lib/__init__.py": ""} if "/" in path else {}
        text = "\n\n".join(["import jax, jax.numpy as jnp", *self.shuffled(filter(None, helpers))])
        return {"study.py": filled, path: text, "settings.json": f"{{{settings}}}", **package}

    def definitions(self) -> str:
        """What the study's module defines."""
        found = [KINDS[kind].study.format(i=i, o=option) for i, (kind, option) in enumerate(self.code.steps)]
        found += [f"def unused(x):\n    return x + {n}" for n in range(self.style["unused functions"])]
        comment = "# What is used below.\n" * self.style["comments"]
        return ("\n" * (1 + self.style["blank lines"])).join([comment, *self.shuffled(filter(None, found))])

    def body(self) -> list[str]:
        """The steps."""
        lines = []
        for i, (kind, option) in enumerate(self.code.steps):
            lines += ["# A step." + "." * self.style["comments"]] * (self.style["comments"] > 0)
            lines.append(KINDS[kind].call.format(i=i, o=option, h=self.helpers))
            lines += ["jnp.linalg.norm(x)", "unused = x @ params['w']"][: self.style["dead code"]]
        lines += ["if False:\n    x = x + 1"] * self.style["branches never taken"]
        lines += ["", "x = x.reshape(-1).reshape(x.shape)", "x = x[None][0]", "x = jnp.squeeze(x[:, None], 1)"][
            self.style["shapes"] :
        ][:1]
        lines += ["assert x.shape[-1] == 3"] * self.style["assertions"]
        return lines

    def penalized(self) -> list[str]:
        """The factors of the penalty."""
        factors = [("0.0", "0.01", "0.1")[self.choice["penalty"]], "jnp.square(params['w']).sum()"]
        return factors[:: -1 if self.style["order of factors"] else 1]

    def statements(self, outputs: str) -> str:
        """Those of the loss that do not depend on each other."""
        of_loss = (f"value = jnp.square({outputs}).mean()", f"value = jnp.abs({outputs} - 1.0).mean()")
        share = ("0.1", "0.2", "0.3")[self.choice["state"]]
        brackets = "()" if self.style["brackets"] else ("", "")
        both = [
            of_loss[self.choice["loss"]],
            f"mean = {brackets[0]}(1 - {share}) * state['mean'] + {share} * {outputs}.mean(axis=0){brackets[1]}",
        ]
        return "\n".join(both[:: -1 if self.style["order of statements"] else 1])

    def shuffled(self, parts: object) -> list[str]:
        """Definitions in one of several orders; the numbers of a step's definitions stay what they are."""
        found = list(parts)  # type: ignore[call-overload]
        random.Random(self.style["order of definitions"]).shuffle(found)
        return found
