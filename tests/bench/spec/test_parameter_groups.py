"""What `Result.groups` says of contenders: tables written by hand from the papers, and every claim tried."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench import optimizers, problems
from dlkit.bench.data import split
from dlkit.bench.optimizers import OPTIMIZERS, Optimizer
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.space import log_uniform
from dlkit.bench.problems import Problem
from dlkit.bench.problems.roles import roles_of
from dlkit.bench.report.markdown import markdown_tables
from dlkit.bench.report.page import write_report
from dlkit.bench.spec.parameter_groups import groups_of, probed_groups
from dlkit.bench.training.recipe import Recipe

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def network(params: Any, x: Any) -> Any:
    h = jnp.tanh(x @ params["first"] + params["bias"][None])
    return jnp.tanh(h @ params["hidden"]) @ params["head"]


def small() -> Problem:
    shapes = {"first": (3, 4), "bias": (4,), "hidden": (4, 4), "head": (4, 2)}

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return (network(params, batch["inputs"]) ** 2).mean(), state

    return Problem(
        name="small",
        init=lambda key: ({name: jax.random.normal(key, shape) for name, shape in shapes.items()}, None),
        loss=loss,
        evaluate=lambda params, state, batch: {"loss": loss(params, state, batch, None)[0]},
        dataset=split("small", {"inputs": X}),
        metrics={"loss": Metric("lower")},
        batch_size=8,
        steps=4,
    )


def recipe(optimizer: Optimizer) -> Recipe:
    static = {name: options[0] for name, options in optimizer.static.items()}
    return Recipe(optimizer=optimizer, steps=4, evaluations=2, static=static)


def by_leaf(problem: Problem, optimizer: Optimizer, *, is_own: bool = False) -> dict[str, tuple[str, str, bool | None]]:
    groups = groups_of(problem, roles_of(problem), recipe(optimizer), is_own=is_own)
    return {each.path: (each.role, each.rule, each.decayed) for each in groups}


# Jordan et al.: hidden matrices and kernels by Newton-Schulz, all else by Adam. SOAP: every matrix on its two sides, of
# 1024 at most, vectors by Adam. AdamW: everything, decayed. LARS (MLPerf): weights scaled and decayed, biases neither.
DIGITS_CNN = """
network.stage_0.conv_0.conv.kernel  first   Adam           SOAP, two sides  adamw  LARS
network.stage_0.conv_0.conv.bias    vector  Adam           Adam             adamw  momentum
network.stage_0.conv_1.conv.kernel  hidden  Newton-Schulz  SOAP, two sides  adamw  LARS
network.stage_0.conv_1.conv.bias    vector  Adam           Adam             adamw  momentum
network.hidden_0.dense.kernel       hidden  Newton-Schulz  SOAP, two sides  adamw  LARS
network.hidden_0.dense.bias         vector  Adam           Adam             adamw  momentum
network.output.kernel               head    Adam           SOAP, two sides  adamw  LARS
network.output.bias                 vector  Adam           Adam             adamw  momentum
"""
TEXT_TRANSFORMER = """
embedding.embedding                 embedding  Adam           SOAP, two sides  adamw  LARS
positions.embedding                 other      Adam           SOAP, two sides  adamw  LARS
block_#.attention_norm.scale        vector     Adam           Adam             adamw  momentum
block_#.attention_norm.bias         vector     Adam           Adam             adamw  momentum
block_#.attention.query.kernel      hidden     Newton-Schulz  SOAP, two sides  adamw  LARS
block_#.attention.query.bias        vector     Adam           Adam             adamw  momentum
block_#.attention.key.kernel        hidden     Newton-Schulz  SOAP, two sides  adamw  LARS
block_#.attention.key.bias          vector     Adam           Adam             adamw  momentum
block_#.attention.value.kernel      hidden     Newton-Schulz  SOAP, two sides  adamw  LARS
block_#.attention.value.bias        vector     Adam           Adam             adamw  momentum
block_#.attention.output.kernel     hidden     Newton-Schulz  SOAP, two sides  adamw  LARS
block_#.attention.output.bias       vector     Adam           Adam             adamw  momentum
block_#.mlp_norm.scale              vector     Adam           Adam             adamw  momentum
block_#.mlp_norm.bias               vector     Adam           Adam             adamw  momentum
block_#.mlp.hidden.kernel           hidden     Newton-Schulz  SOAP, two sides  adamw  LARS
block_#.mlp.hidden.bias             vector     Adam           Adam             adamw  momentum
block_#.mlp.output.kernel           hidden     Newton-Schulz  SOAP, two sides  adamw  LARS
block_#.mlp.output.bias             vector     Adam           Adam             adamw  momentum
normalization.scale                 vector     Adam           Adam             adamw  momentum
normalization.bias                  vector     Adam           Adam             adamw  momentum
output.kernel                       head       Adam           SOAP, two sides  adamw  LARS
output.bias                         vector     Adam           Adam             adamw  momentum
"""
DECAYED = {"muon": (), "soap": (), "adamw": ("adamw",), "lars": ("LARS",)}


@pytest.mark.long
@pytest.mark.parametrize(("name", "table"), [("digits-cnn", DIGITS_CNN), ("text-transformer", TEXT_TRANSFORMER)])
def test_the_papers_rules_leaf_by_leaf(name: str, table: str) -> None:
    rows = [row for line in table.split("\n") if (row := [cell.strip() for cell in line.split("  ") if cell.strip()])]
    rows = [
        [path.replace("#", str(block)), *rest]
        for path, *rest in rows
        for block in (range(2) if "#" in path else range(1))
    ]
    problem = problems.get(name)
    for column, contender in enumerate(DECAYED, 2):
        expected = {row[0]: (row[1], row[column], row[column] in DECAYED[contender]) for row in rows}
        assert by_leaf(problem, optimizers.get(contender)) == expected, contender


QUICK = ("adamw", "lars", "lamb", "galore", "fromage", "muon", "sgd")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in QUICK else pytest.mark.slow) for name in OPTIMIZERS]
)
def test_a_registered_optimizer_decays_what_it_says_and_moves_all(name: str) -> None:
    problem, optimizer = small(), OPTIMIZERS[name]
    params, _ = jax.eval_shape(problem.init, jax.random.key(0))
    tried = probed_groups(problem, recipe(optimizer), params, roles_of(problem))
    said = by_leaf(problem, optimizer)
    assert dict(zip(said, (decayed for _, decayed in tried), strict=True)) == {
        path: decayed for path, (_, _, decayed) in said.items()
    }
    assert "frozen" not in {rule for rule, _ in tried}


def partitioned(learning_rate: Any) -> Any:
    labels = {"first": "slow", "bias": "none", "hidden": "fast", "head": "fast"}
    parts = {
        "slow": optax.adamw(learning_rate, weight_decay=0.1),
        "fast": optax.adam(learning_rate),
        "none": optax.set_to_zero(),
    }
    return optax.partition(parts, labels)


def masked_decay(learning_rate: Any) -> Any:
    return optax.adamw(learning_rate, mask={"bias": False, "first": True, "hidden": True, "head": False})


def raising(learning_rate: Any) -> Any:
    raise ValueError("no")


SPACE = {"learning_rate": log_uniform(1e-3, 1e-1)}


@pytest.mark.long
@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (
            Optimizer("mine", partitioned, SPACE),
            {"first": ("slow", True), "bias": ("frozen", False), "hidden": ("fast", False), "head": ("fast", False)},
        ),
        (
            Optimizer("mine", masked_decay, SPACE),
            {"first": ("mine", True), "bias": ("mine", False), "hidden": ("mine", True), "head": ("mine", False)},
        ),
        (
            Optimizer("mine", lambda learning_rate: optax.noisy_sgd(learning_rate, key=0), SPACE),
            dict.fromkeys(("first", "bias", "hidden", "head"), ("mine", False)),
        ),
        (
            Optimizer("mine", raising, SPACE),
            dict.fromkeys(("first", "bias", "hidden", "head"), ("mine", None)),
        ),
        (
            Optimizer(
                "mine",
                lambda learning_rate, roles: optax.masked(
                    optax.add_decayed_weights(0.1), jax.tree.map(lambda role: role.kind == "hidden", roles)
                ),
                SPACE,
                roles=True,
            ),
            {"first": ("mine", False), "bias": ("mine", False), "hidden": ("mine", True), "head": ("mine", False)},
        ),
    ],
    ids=["labels", "mask", "noise", "raises", "asks for roles"],
)
def test_ones_own_optimizer_is_tried(optimizer: Optimizer, expected: Any) -> None:
    found = by_leaf(small(), optimizer, is_own=True)
    assert {path: rest for path, (_, *rest) in found.items()} == {path: list(each) for path, each in expected.items()}


def test_wrappers_keep_the_rules_and_decay_adds_its_own() -> None:
    clipped, decayed = (by_leaf(small(), optimizers.get(name)) for name in ("muon+clip+ema", "muon+decay"))
    assert clipped == by_leaf(small(), optimizers.get("muon"))
    assert {path: rule for path, (_, rule, _) in decayed.items()} == {
        path: rule for path, (_, rule, _) in clipped.items()
    }
    assert all(each for _, _, each in decayed.values())
    assert {each[1:] for each in by_leaf(small(), optimizers.get("adam+clip")).values()} == {("adam", False)}


def test_a_weight_decay_that_is_fixed_at_zero_decays_nothing() -> None:
    optimizer = optimizers.get("adamw")
    without = Optimizer("adamw", optimizer.build, {**optimizer.space, "weight_decay": 0.0})
    assert not any(decayed for _, _, decayed in by_leaf(small(), without).values())


@pytest.mark.long
def test_a_result_has_its_groups_while_it_runs_and_when_it_is_opened(tmp_path: Any) -> None:
    result = bench.compare(
        problems=[small()],
        optimizers=["muon", "adamw"],
        budget=bench.Budget(steps=4, tuning_points=1, seeds=2, evaluations=2),
        resources=bench.Resources(executor="inline"),
        progress=False,
        folder=tmp_path / "run",
    )
    groups = result.groups()
    assert not result.failures
    assert groups["optimizer"].drop_duplicates().tolist() == ["muon", "adamw"]
    row = groups[(groups.optimizer == "muon") & (groups.path == "hidden")].iloc[0]
    assert (row["shape"], row["parameters"], row["role"], row["rule"], row["decayed"]) == (
        (4, 4),
        16,
        "hidden",
        "Newton-Schulz",
        False,
    )
    assert groups.groupby("optimizer")["share"].sum().round(6).tolist() == [1.0, 1.0]
    assert row["share"] == pytest.approx(16 / 40)
    opened = bench.open_run(tmp_path / "run")
    assert opened.groups().equals(groups)
    text = markdown_tables(opened.summary)
    assert "Which rule trains which parameters" in text and "| muon | Newton-Schulz | 16 | 40" in text
    page = write_report(opened.summary, tmp_path / "page.html").read_text()
    assert "Every leaf of the parameters" in page and "adamw, decayed" in page
