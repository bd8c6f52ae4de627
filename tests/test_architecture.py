"""The rules that hold the package together: who imports whom, what an import costs, what is documented."""

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dlkit"

# A module imports only from rows above its own; modules of one row do not import each other. Names are relative to
# dlkit, and an exact name wins over a pattern. A package (its __init__) stands below its modules. A new module is one
# more name or row.
ORDER: tuple[tuple[str, ...], ...] = (
    ("typing",),
    ("checks",),
    ("losses.shared", "regularizers.groups", "regularizers.masks"),
    ("activations.*", "losses.*", "gan_losses", "regularizers.*", "early_stopping"),
    ("activations.registry",),
    ("activations", "losses", "regularizers"),
    ("layers.base", "layers.window"),
    ("layers.combine", "layers.lowerings", "layers.standardize"),
    ("layers.*",),
    ("layers.normalization", "layers.recurrent_stack"),
    ("layers.recurrent", "layers.transformer"),
    ("layers",),
    ("models.parts",),
    ("models.mlp",),
    ("models.*",),
    ("models",),
    ("",),  # dlkit itself
    # ───────── wall ─────────
    ("bench.errors",),
    ("bench.environment", "bench.identity", "bench.imports", "bench.interrupts", "bench.loops", "bench.space"),
    ("bench.doctor", "bench.tuners"),
    ("bench.data.mapped",),
    ("bench.data.base",),
    ("bench.data.*",),
    ("bench.data.packages",),
    ("bench.data",),
    ("bench.problems.players",),
    ("bench.problems.base", "bench.problems.optima"),
    ("bench.problems.makers", "bench.problems.supervised", "bench.problems.sample_quality", "bench.problems.features"),
    ("bench.problems.*",),
    ("bench.problems.catalog",),
    ("bench.problems",),
    ("bench.modules",),
    ("bench.equinox_modules", "bench.flax_modules", "bench.haiku_modules"),
    ("bench.optimizers.base",),
    (
        "bench.optimizers.shampoo",
        "bench.optimizers.soap",
        "bench.optimizers.transformations",
        "bench.optimizers.wrapping",
    ),
    ("bench.optimizers.*",),
    ("bench.optimizers.catalog",),
    ("bench.optimizers.plugins",),
    ("bench.optimizers",),
    ("bench.probes.base", "bench.probes.marks"),
    ("bench.probes.*",),
    ("bench.probes.catalog",),
    ("bench.probes",),
    ("bench.schedules",),
    ("bench.batches", "bench.convolutions", "bench.recipes", "bench.placement"),
    ("bench.streaming",),
    ("bench.stats.checks",),
    ("bench.stats.order_statistics", "bench.stats.pairs", "bench.stats.resampling"),
    ("bench.stats.intervals",),
    ("bench.stats.bootstrap",),
    ("bench.stats.*",),
    ("bench.stats",),
    ("bench.progress", "bench.rules"),
    ("bench.builds", "bench.games"),
    ("bench.steps",),
    ("bench.trainer", "bench.outcomes"),
    ("bench.plans",),
    ("bench.budgets",),
    ("bench.spec",),
    ("bench.spec_files",),
    ("bench.trials",),
    ("bench.studies",),
    ("bench.planner",),
    ("bench.scores",),
    ("bench.search", "bench.timing"),
    ("bench.tuning",),
    ("bench.expansion", "bench.targets"),
    ("bench.executor", "bench.store"),
    ("bench.cluster",),
    ("bench.stopwatch",),
    ("bench.formats", "bench.moments"),
    ("bench.pairwise",),
    ("bench.ranking",),
    ("bench.costs", "bench.effects"),
    ("bench.overview",),
    ("bench.tuning_overview",),
    ("bench.findings",),
    ("bench.verdicts",),
    ("bench.settling",),
    ("bench.runner",),
    ("bench.comparisons",),
    ("bench.results",),
    ("bench.tables", "bench.figure_data", "bench.pictures"),
    ("bench.overview_tables",),
    ("bench.plots",),
    ("bench.overview_plots",),
    ("bench.overview_paper",),
    ("bench.paper", "bench.latex"),
    ("bench.report",),
    ("bench.console", "bench.replays"),
    ("bench.training",),
    ("bench.api",),
    ("bench",),
    ("bench.cli",),
)
# Stricter than the order: module, or pattern -> (what it may not import, except for these).
FORBIDDEN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bench.trainer": (("bench.problems", "bench.problems.*", "bench.data", "bench.data.*"), ("bench.problems.base",)),
    "bench.games": (("bench.problems", "bench.problems.*", "bench.data", "bench.data.*"), ("bench.problems.base",)),
    "bench.stats": (("*",), ("bench.stats.*",)),
    "bench.stats.*": (("*",), ("bench.stats.*",)),
}
# Packages from outside, beside the standard library.
PRIMITIVES_MAY_IMPORT = frozenset({"jax", "jaxtyping", "numpy"})
MAY_IMPORT_ONLY: dict[str, frozenset[str]] = {
    "": frozenset(),
    "bench.stats": frozenset({"numpy", "scipy"}),
    "bench.stats.*": frozenset({"numpy", "scipy"}),
}
PLOTTING = frozenset({"plotly", "matplotlib"})
MAY_PLOT = frozenset({"bench.overview_paper", "bench.overview_plots", "bench.paper", "bench.plots"})


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES: dict[str, ast.Module] = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}
PRIMITIVES = sorted(name for name in MODULES if name and name.split(".")[0] != "bench")

every_module = pytest.mark.parametrize("name", sorted(MODULES), ids=lambda name: f"dlkit.{name}".rstrip("."))


Rule = TypeVar("Rule")


def rule_for(rules: Mapping[str, Rule], name: str, otherwise: Rule) -> Rule:
    """The rule of a module: its own, or that of the first pattern it matches."""
    matching = (rule for pattern, rule in rules.items() if fnmatch.fnmatchcase(name, pattern))
    return rules[name] if name in rules else next(matching, otherwise)


def row(name: str) -> int | None:
    """The row of ORDER that a module stands in."""
    for matches in (str.__eq__, fnmatch.fnmatchcase):
        for position, patterns in enumerate(ORDER):
            if any(matches(name, pattern) for pattern in patterns):
                return position
    return None


def imports(tree: ast.Module) -> Iterator[str]:
    """Every absolute name that a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def internal(tree: ast.Module) -> set[str]:
    """The modules of dlkit that a module imports: `from dlkit.layers import Layer` is `layers`."""
    found = set()
    for name in imports(tree):
        if name.split(".")[0] == "dlkit":
            parts = name.split(".")[1:]
            found.add(".".join(parts) if ".".join(parts) in MODULES else ".".join(parts[:-1]))
    return found


def external(tree: ast.Module) -> set[str]:
    """The packages from outside that a module imports, without the standard library."""
    return {name.split(".")[0] for name in imports(tree)} - sys.stdlib_module_names - {"dlkit"}


def violations(name: str, tree: ast.Module) -> list[str]:
    """What is wrong with the imports of a module."""
    own = row(name)
    if own is None:
        return [f"dlkit.{name} has no row in ORDER"]
    wrong = []
    banned, excepted = rule_for(FORBIDDEN, name, ((), ()))
    for target in sorted(internal(tree)):
        target_row = row(target)
        if target_row is None or target_row >= own:
            wrong.append(f"dlkit.{name} imports dlkit.{target}, which does not stand above it")
        if _matches(target, banned) and not _matches(target, excepted):
            wrong.append(f"dlkit.{name} must not import dlkit.{target}")
    packages = external(tree)
    allowed = rule_for(MAY_IMPORT_ONLY, name, PRIMITIVES_MAY_IMPORT if name in PRIMITIVES else frozenset(packages))
    if name not in MAY_PLOT:
        allowed = allowed - PLOTTING
    return wrong + [f"dlkit.{name} must not import {package}" for package in sorted(packages - allowed)]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@every_module
def test_imports_point_upwards(name: str) -> None:
    assert not violations(name, MODULES[name])


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("losses", "from dlkit import layers", "dlkit.losses imports dlkit.layers, which does not stand above it"),
        ("losses", "import dlkit.regularizers", "dlkit.losses imports dlkit.regularizers, which does not stand"),
        ("layers.dense", "from dlkit.layers import Layer", "dlkit.layers.dense imports dlkit.layers, which"),
        ("models", "def f():\n    from dlkit.bench import spec", "dlkit.models imports dlkit.bench"),
        ("models", "import optax", "dlkit.models must not import optax"),
        (
            "bench.trainer",
            "from dlkit.bench.problems import digits",
            "dlkit.bench.trainer must not import dlkit.bench.pro",
        ),
        ("bench.stats", "import jax", "dlkit.bench.stats must not import jax"),
        ("bench.stats", "from dlkit import losses", "dlkit.bench.stats must not import dlkit.losses"),
        ("bench.stats.ranks", "import pandas", "dlkit.bench.stats.ranks must not import pandas"),
        ("bench.stats.ranks", "from dlkit import losses", "dlkit.bench.stats.ranks must not import dlkit.losses"),
        (
            "bench.stats.checks",
            "from dlkit.bench.stats import Interval",
            "dlkit.bench.stats.checks imports dlkit.bench.stats",
        ),
        ("bench.report", "import plotly.graph_objects", "dlkit.bench.report must not import plotly"),
        ("nowhere", "", "dlkit.nowhere has no row in ORDER"),
    ],
)
def test_the_checker_sees_a_violation(name: str, source: str, expected: str) -> None:
    assert any(found.startswith(expected) for found in violations(name, ast.parse(source)))


def test_the_checker_allows_what_is_allowed() -> None:
    source = "import math\nimport jax.numpy as jnp\nfrom dlkit.typing import Array\nfrom dlkit.layers.base import Layer"
    assert violations("layers.dense", ast.parse(source)) == []
    assert violations("bench.plots", ast.parse("import plotly")) == []


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


@every_module
def test_all_names_exist(name: str) -> None:
    tree = MODULES[name]
    bound = {node.name for _, node in definitions(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    assert set(public_names(tree) or ()) <= bound


@pytest.mark.parametrize("name", PRIMITIVES, ids=lambda name: f"dlkit.{name}")
def test_every_primitive_has_an_example(name: str) -> None:
    functions = {label: node for label, node in definitions(MODULES[name]) if isinstance(node, ast.FunctionDef)}
    assert [label for label, node in functions.items() if ">>>" not in (ast.get_docstring(node) or "")] == []
