"""The rules that hold the package together: who imports whom, what an import costs, what is documented."""

import ast
import fnmatch
import graphlib
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dlkit"

# A room is a folder, or a module that stands alone. A room imports only from rooms in rows above its own; rooms of one
# row do not import each other. Inside a room modules import as they like, but for circles. Names are relative to dlkit;
# the rooms of `bench` stand behind the wall. A new module belongs to a room and needs no line here.
ORDER: tuple[tuple[str, ...], ...] = (
    ("distribution", "hints", "typing"),
    ("checks",),
    ("activations", "early_stopping", "losses", "regularizers"),
    ("gan_losses",),
    ("layers",),
    ("models",),
    ("",),  # dlkit itself
    # ───────── wall ─────────
    ("bench.errors", "bench.escapes", "bench.stats"),
    ("bench.doors",),
    ("bench.identity", "bench.machine"),
    ("bench.plan",),
    ("bench.data",),
    ("bench.optimizers", "bench.problems", "bench.tuning"),
    ("bench.probes", "bench.store"),
    ("bench.analysis", "bench.training"),
    ("bench.export", "bench.report", "bench.spec"),
    ("bench.examination",),
    ("bench.execution",),
    ("bench.again", "bench.outputs"),
    ("bench.api", "bench.listing"),
    ("bench.runs", "bench.upkeep"),
    ("bench",),  # the public names, imported on first use
    ("bench.cli",),
    ("__main__",),
)
# Stricter than the order: module, or pattern -> (what it may not import, except for these).
FORBIDDEN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bench.training.*": (
        ("bench.problems", "bench.problems.*", "bench.data", "bench.data.*", "bench.optimizers", "bench.optimizers.*"),
        (
            "bench.problems.base",
            "bench.problems.players",
            "bench.problems.roles",
            "bench.optimizers.base",
            "bench.optimizers.schedules",
        ),
    ),
    "bench.stats": (("*",), ("bench.stats.*",)),
    "bench.stats.*": (("*",), ("bench.stats.*",)),
}
# Packages from outside, beside the standard library.
PRIMITIVES_MAY_IMPORT = frozenset({"jax", "jaxtyping", "numpy"})
MAY_IMPORT_ONLY: dict[str, frozenset[str]] = {
    "": frozenset(),
    "bench.stats": frozenset({"numpy", "scipy"}),
    "bench.plan": frozenset({"cattrs", "numpy"}),
    "bench.identity.hashing": frozenset(),
    "bench.tuning": frozenset({"numpy", "optuna", "scipy"}),
    "bench.store": frozenset({"numpy"}),
    "bench.analysis": frozenset({"numpy", "pandas", "scipy"}),
    "bench.export": frozenset({"numpy", "pandas"}),  # other packages are asked for by name, and may be missing
    "bench.report": frozenset({"jinja2", "markupsafe", "matplotlib", "numpy", "pandas", "plotly", "rich"}),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TEXTS = {module_name(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
MODULES: dict[str, ast.Module] = {name: ast.parse(text) for name, text in TEXTS.items()}
LENGTHS = {name: len(text.splitlines()) for name, text in TEXTS.items()}
PRIMITIVES = sorted(name for name in MODULES if name and name.split(".")[0] not in ("bench", "__main__"))

every_module = pytest.mark.parametrize("name", sorted(MODULES), ids=lambda name: f"dlkit.{name}".rstrip("."))


Rule = TypeVar("Rule")
ROW = {room: row for row, rooms in enumerate(ORDER) for room in rooms}


def room_of(name: str) -> str | None:
    """The room that a module stands in: the longest start of its name that is one."""
    parts = name.split(".")
    starts = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    room = next((start for start in starts if start in ROW), None)
    return None if room == "bench" and name != "bench" else room


def rule_for(rules: Mapping[str, Rule], name: str, otherwise: Rule) -> Rule:
    """The rule of a module: its own, or that of the first pattern it matches."""
    matching = (rule for pattern, rule in rules.items() if fnmatch.fnmatchcase(name, pattern))
    return rules[name] if name in rules else next(matching, otherwise)


def imports(tree: ast.Module) -> Iterator[str]:
    """Every absolute name that a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def internal(tree: ast.Module, modules: Collection[str] | None = None) -> set[str]:
    """The modules of dlkit that a module imports: `from dlkit.layers import Layer` is `layers`."""
    known = MODULES if modules is None else modules
    found = set()
    for name in imports(tree):
        if name.split(".")[0] == "dlkit":
            parts = name.split(".")[1:]
            found.add(".".join(parts) if ".".join(parts) in known else ".".join(parts[:-1]))
    return found


def external(tree: ast.Module) -> set[str]:
    """The packages from outside that a module imports, without the standard library."""
    return {name.split(".")[0] for name in imports(tree)} - sys.stdlib_module_names - {"dlkit"}


def violations(name: str, tree: ast.Module) -> list[str]:
    """What is wrong with the imports of a module."""
    room = room_of(name)
    if room is None:
        return [f"dlkit.{name} stands in no room of ORDER"]
    wrong = []
    banned, excepted = rule_for(FORBIDDEN, name, ((), ()))
    for target in sorted(internal(tree)):
        other = room_of(target)
        if other is None or (other != room and ROW[other] >= ROW[room]):
            wrong.append(f"dlkit.{name} imports dlkit.{target}, which does not stand above it")
        if _matches(target, banned) and not _matches(target, excepted):
            wrong.append(f"dlkit.{name} must not import dlkit.{target}")
    packages = external(tree)
    otherwise = PRIMITIVES_MAY_IMPORT if name in PRIMITIVES else packages
    allowed = MAY_IMPORT_ONLY.get(name, MAY_IMPORT_ONLY.get(room, otherwise))
    return wrong + [f"dlkit.{name} must not import {package}" for package in sorted(packages - allowed)]


def circle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Names that import each other in a circle, in its order; none if there is no circle."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@every_module
def test_imports_point_upwards(name: str) -> None:
    assert not violations(name, MODULES[name])


@pytest.mark.parametrize("room", [room for room in ROW if room])
def test_there_is_no_circle_in_a_room(room: str) -> None:
    inside = [name for name in MODULES if room_of(name) == room]
    assert inside, "an empty room"
    assert not circle({name: internal(MODULES[name]) & {*inside} for name in inside})


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("losses", "from dlkit import layers", "dlkit.losses imports dlkit.layers, which does not stand above it"),
        ("losses", "import dlkit.regularizers", "dlkit.losses imports dlkit.regularizers, which does not stand"),
        ("models", "def f():\n    from dlkit.bench.spec import toml", "dlkit.models imports dlkit.bench.spec.toml"),
        ("models", "import optax", "dlkit.models must not import optax"),
        (
            "bench.training.program",
            "from dlkit.bench.problems import digits",
            "dlkit.bench.training.program must not import dlkit.bench.problems.digits",
        ),
        ("bench.problems.base", "from dlkit.bench.training import loop", "dlkit.bench.problems.base imports dlkit.ben"),
        ("bench.analysis.pairs", "from dlkit.bench.training import loop", "dlkit.bench.analysis.pairs imports dlkit"),
        ("bench.analysis.pairs", "import jax", "dlkit.bench.analysis.pairs must not import jax"),
        ("bench.identity.hashing", "import numpy", "dlkit.bench.identity.hashing must not import numpy"),
        ("bench.plan.trials", "import jax.numpy as jnp", "dlkit.bench.plan.trials must not import jax"),
        ("bench.stats", "import jax", "dlkit.bench.stats must not import jax"),
        ("bench.stats", "from dlkit import losses", "dlkit.bench.stats must not import dlkit.losses"),
        ("bench.stats.ranks", "import pandas", "dlkit.bench.stats.ranks must not import pandas"),
        ("bench.stats.ranks", "from dlkit import losses", "dlkit.bench.stats.ranks must not import dlkit.losses"),
        ("bench.nowhere", "", "dlkit.bench.nowhere stands in no room of ORDER"),
        ("nowhere", "", "dlkit.nowhere stands in no room of ORDER"),
    ],
)
def test_the_checker_sees_a_violation(name: str, source: str, expected: str) -> None:
    assert any(found.startswith(expected) for found in violations(name, ast.parse(source)))


def test_the_checker_sees_a_circle() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) and not circle({"a": {"b"}, "b": {"c"}, "c": ()})
    source = "from dlkit.layers import Layer"
    assert circle({"layers": {"layers.dense"}, "layers.dense": internal(ast.parse(source))})


def test_the_checker_allows_what_is_allowed() -> None:
    source = "import math\nimport jax.numpy as jnp\nfrom dlkit.typing import Array\nfrom dlkit.layers.base import Layer"
    assert violations("layers.dense", ast.parse(source)) == []
    assert violations("bench.report.plotly_figures", ast.parse("import plotly")) == []


# What concludes, and the plain data below it: none of it may load JAX, not even by way of something else.
NEVER_JAX = frozenset(
    f"bench.{room}"
    for room in ("analysis", "errors", "export", "identity", "machine", "plan", "report", "stats", "store", "tuning")
)


def at_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The import statements that run when a module is imported: not those of functions and of type checking."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from at_import([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from at_import([*node.body, *(each for handler in node.handlers for each in handler.body)])


def loaded_with(name: str, modules: Mapping[str, ast.Module]) -> tuple[set[str], set[str]]:
    """What importing a module loads: modules of dlkit with their packages, and packages from outside."""
    seen: set[str] = set()
    packages: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen or current not in modules:
            continue
        seen.add(current)
        part = ast.Module(list(at_import(modules[current].body)), [])
        packages |= external(part)
        parts = current.split(".")
        waiting += [*internal(part, modules), *(".".join(parts[:count]) for count in range(len(parts)))]
    return seen, packages


@pytest.mark.parametrize("name", sorted(name for name in MODULES if room_of(name) in NEVER_JAX))
def test_what_concludes_never_loads_jax(name: str) -> None:
    assert not loaded_with(name, MODULES)[1] & {"jax", "jaxlib", "flax", "optax"}


def test_the_checker_follows_imports() -> None:
    sources = {
        "bench.plan.a": "from dlkit.bench.plan import b",
        "bench.plan.b": "import numpy\ndef late():\n    import pandas",
        "bench.plan": "try:\n    import jax\nexcept ImportError:\n    import rich",
    }
    modules = {name: ast.parse(source) for name, source in sources.items()}
    assert loaded_with("bench.plan.a", modules) == ({*sources}, {"jax", "numpy", "rich"})


LONGEST_MODULE = 400  # lines
LONGEST_FUNCTION = 60  # lines of code, without the docstring


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines a function takes after its docstring."""
    has_docstring = ast.get_docstring(function) is not None and len(function.body) > 1
    first = function.body[1 if has_docstring else 0]
    assert function.end_lineno is not None
    return function.end_lineno - first.lineno + 1


@every_module
def test_modules_and_functions_are_short(name: str) -> None:
    assert LENGTHS[name] <= LONGEST_MODULE
    functions = [node for node in ast.walk(MODULES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [each.name for each in functions if lines_of_code(each) > LONGEST_FUNCTION] == []


def test_the_checker_counts_lines() -> None:
    function = ast.parse(
        'def f():\n    """Says.\n\n    More.\n    """\n    a = 1\n    return (\n        a\n    )'
    ).body[0]
    assert isinstance(function, ast.FunctionDef) and lines_of_code(function) == 4


def loaded_after(statement: str, packages: tuple[str, ...]) -> set[str]:
    """Which of the packages a new interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*(name for name in {packages!r} if name in sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(process.stdout.split())


def test_importing_dlkit_loads_nothing() -> None:
    heavy = ("jax", "numpy", "optax", "flax", "plotly", "matplotlib", "dlkit.bench")
    assert loaded_after("import dlkit", heavy) == set()


def test_using_the_primitives_loads_jax_and_nothing_else() -> None:
    heavy = ("jax", "optax", "flax", "plotly", "matplotlib", "dlkit.bench")
    statement = "import dlkit; dlkit.activations, dlkit.losses, dlkit.regularizers, dlkit.layers, dlkit.models"
    assert loaded_after(statement, heavy) == {"jax"}


def test_a_worker_and_planning_load_no_more_than_training_needs() -> None:
    """A process a core starts with each run: what it imports beside JAX is paid that many times."""
    heavy = ("pandas", "scipy", "sklearn", "plotly", "matplotlib", "rich", "optuna", "dlkit.bench.report")
    work = "import dlkit.bench.execution.nursery, dlkit.bench.execution.work, dlkit.bench.spec.planner"
    assert loaded_after(work, (*heavy, "jax")) == {"jax"}
    drawn = "from dlkit.bench.tuning.sampling import halton_points as draw; from dlkit.bench.plan.space import Range; "
    assert loaded_after(drawn + "draw({'rate': Range(0.1, 1.0)}, {}, 4)", (*heavy, "numpy")) == {"numpy"}


@pytest.mark.long
def test_a_run_depends_on_no_sentence() -> None:
    sentences = tuple(f"dlkit.bench.analysis.{name}" for name in ("findings", "verdict"))
    decisions = "dlkit.bench.analysis.settling"
    statement = "import dlkit.bench.execution.runner, dlkit.bench.execution.jobs, dlkit.bench.analysis.settling"
    assert loaded_after(statement, (*sentences, decisions)) == {decisions}
    assert loaded_after("import dlkit.bench.analysis.verdict", sentences) == {*sentences}


def public_names(tree: ast.Module) -> list[str] | None:
    """`__all__`, or None where it is missing or not a literal."""
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    """Public functions, classes and their public methods."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{name}", method) for name, method in definitions(node))  # type: ignore[arg-type]


@every_module
def test_public_names_are_declared_and_documented(name: str) -> None:
    tree = MODULES[name]
    assert ast.get_docstring(tree), "no module docstring"
    declared = public_names(tree)
    assert declared is not None, "no literal __all__"
    assert sorted(set(declared)) == sorted(declared), "a name stands twice in __all__"
    found = dict(definitions(tree))
    assert [label for label, node in found.items() if not ast.get_docstring(node)] == []


LISTED = (
    *("plan", "identity", "machine", "training", "spec", "tuning", "store", "analysis", "export", "report"),
    "execution",
)


@pytest.mark.parametrize("room", [*(f"bench.{room}" for room in LISTED), "bench.problems.frameworks"])
def test_a_room_says_what_each_of_its_modules_is(room: str) -> None:
    modules = {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == room}
    assert {*(public_names(MODULES[room]) or ())} == modules
    docstring = ast.get_docstring(MODULES[room]) or ""
    assert [module for module in sorted(modules) if f"`{module}`" not in docstring] == []


@every_module
def test_all_names_exist(name: str) -> None:
    tree = MODULES[name]
    bound = {node.name for _, node in definitions(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    bound |= {other.rpartition(".")[2] for other in MODULES if other.rpartition(".")[0] == name}
    assert set(public_names(tree) or ()) <= bound


@pytest.mark.parametrize("name", PRIMITIVES, ids=lambda name: f"dlkit.{name}")
def test_every_primitive_has_an_example(name: str) -> None:
    functions = {label: node for label, node in definitions(MODULES[name]) if isinstance(node, ast.FunctionDef)}
    assert [label for label, node in functions.items() if ">>>" not in (ast.get_docstring(node) or "")] == []
