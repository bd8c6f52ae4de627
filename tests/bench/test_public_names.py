"""The public names of `dlkit.bench`: which there are, and that its three lists of them agree."""

import ast
import importlib
from pathlib import Path

from dlkit import bench

NAMES = {
    *(
        "check",
        "compare",
        "compare_runs",
        "merge_runs",
        "convert_run",
        "repair_run",
        "verify_run",
        "run",
        "train",
        "load",
        "open_run",
    ),
    *("Result", "TrainedModel", "KeptModel", "Replay", "Verification"),
    *("Problem", "Metric", "Player", "Probe", "Dataset", "dataset", "split", "Optimizer", "Evaluations", "Schedule"),
    *("uniform", "log_uniform", "one_minus_log_uniform"),
    *("Experiment", "Contender", "ProblemChoice", "Budget", "Settling", "EarlyStopping", "TargetRule", "Resources"),
    *("problem_from_dataset", "problem_from_flax", "problem_from_equinox", "problem_from_haiku"),
    "UserError",
}
WRAPPERS = {
    name for name in vars(importlib.import_module("dlkit.bench.optimizers.wrappers")) if name.startswith("with_")
}


def test_the_public_names_are_these() -> None:
    assert set(bench.__all__) == NAMES and len(bench.__all__) == 42


def test_every_name_is_imported_from_where_type_checkers_find_it() -> None:
    tree = ast.parse(Path(bench.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == bench._HOME_OF and seen.keys() == NAMES
    for name, home in seen.items():
        assert home is not None and getattr(bench, name) is getattr(importlib.import_module(home), name)


def test_every_wrapper_is_exported_beside_its_siblings() -> None:
    assert len(WRAPPERS) == 10 and set(bench.optimizers.__all__) >= WRAPPERS
