"""From training to the sentence: scores of test examples through workers' code, store, verdict, tables and frames."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench, models
from dlkit.bench.data import split
from dlkit.bench.plan.space import uniform
from dlkit.bench.problems import classification
from dlkit.bench.report.tables import ranking
from dlkit.bench.stats import crossed_difference

INLINE = bench.Resources(executor="inline")
EXAMPLES = 200


def points(seed: int = 0) -> bench.Problem:
    """Noisy labels of points in the plane, split once: 40 test examples, the same ones in every study."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(EXAMPLES, 8)).astype(np.float32)
    targets = (inputs[:, 0] + 1.5 * rng.normal(size=EXAMPLES) > 0).astype(np.int32)
    dataset = split("points", {"inputs": inputs, "targets": targets}, redraw=False)
    return classification("points", models.mlp((2,)), dataset, batch_size=20, steps=40)


def clear(*, redraw: bool) -> bench.Problem:
    """Labels of points in space with little noise."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(1500, 8)).astype(np.float32)
    targets = (inputs[:, 0] + 0.2 * rng.normal(size=1500) > 0).astype(np.int32)
    dataset = split("clear", {"inputs": inputs, "targets": targets}, redraw=redraw)
    return classification("clear", models.mlp((2,)), dataset, batch_size=20, steps=80)


class OffsetState(NamedTuple):
    inner: Any
    offset: Any


def _with_offset(learning_rate: Any, draw: Any) -> optax.GradientTransformation:
    """SGD that is evaluated with one of 64 fixed random offsets to its parameters."""
    inner = optax.sgd(learning_rate)

    def init(params: Any) -> OffsetState:
        key = jax.random.fold_in(jax.random.key(7), jnp.floor(jnp.asarray(draw)).astype(jnp.uint32))
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        drawn = [0.3 * jax.random.normal(one, leaf.shape) for one, leaf in zip(keys, leaves, strict=True)]
        return OffsetState(inner.init(params), jax.tree.unflatten(tree, drawn))

    def update(gradients: Any, state: OffsetState, params: Any = None) -> tuple[Any, OffsetState]:
        updates, after = inner.update(gradients, state.inner, params)
        return updates, OffsetState(after, state.offset)

    return optax.GradientTransformation(init, update)


def _offset_params(state: OffsetState, params: Any) -> Any:
    return jax.tree.map(jnp.add, params, state.offset)


SGD = bench.Optimizer("sgd", optax.sgd, {"learning_rate": 0.1})
IDLE = bench.Optimizer("idle", optax.sgd, {"learning_rate": 1e-6})
OFFSET = bench.Optimizer(
    "offset", _with_offset, {"learning_rate": 0.1, "draw": uniform(0, 64)}, eval_params=_offset_params
)
BUDGET = bench.Budget(studies=8, tuning_points=16, tuning_seeds=1, seeds=1, evaluations=4)


@pytest.mark.slow
def test_an_offset_that_validation_chose_is_not_told_apart_on_new_examples(tmp_path: Path) -> None:
    run = bench.compare(
        problems=[points()],
        optimizers=[SGD, OFFSET],
        budget=BUDGET,
        folder=tmp_path / "run",
        resources=INLINE,
        progress=False,
    )
    for result in (run, bench.open_run(tmp_path / "run")):
        (comparison,) = result.summary.comparisons
        hits = {each.label: each.example_scores for each in comparison.results}
        assert {scores.shape for scores in hits.values() if scores is not None} == {(8, 40)}
        for each in comparison.results:
            assert each.example_scores is not None
            assert each.example_scores.mean(axis=1) == pytest.approx(each.blocks, rel=1e-5)
        assert comparison.verdict.kind == "tie"
        best, other = comparison.ranking.compared
        (pair,) = [each.standing.to_best for each in (other,)]
        assert pair is not None and pair.new_examples is not None
        expected = crossed_difference(hits[other.label] - hits[best.label])  # type: ignore[operator]
        assert pair.new_examples.difference == pytest.approx(expected)
        assert pair.new_examples.difference.low < 0 < pair.new_examples.difference.high
        column = [name.startswith("on new examples [") for name in ranking(comparison).header].index(True)
        cells = [row[column] for row in ranking(comparison).rows]
        assert cells[0] == "–" and "[" in cells[1]
        line = result.table().set_index("optimizer").loc[other.label]
        assert line["new_examples"] == pytest.approx(expected.estimate)
        assert line["new_examples_p_value"] == pytest.approx(expected.p_value)


@pytest.mark.slow
def test_a_fixed_offset_is_worse_on_these_test_examples_alone() -> None:
    """All studies agree, as they have the same 40 examples; of other 40 it may as well be better."""
    fixed = bench.Optimizer("fixed", _with_offset, {"learning_rate": 0.1, "draw": 4.0}, eval_params=_offset_params)
    budget = bench.Budget(studies=8, tuning_points=1, tuning_seeds=1, seeds=1, evaluations=4)
    run = bench.compare(problems=[points()], optimizers=[SGD, fixed], budget=budget, resources=INLINE, progress=False)
    (comparison,) = run.summary.comparisons
    other = comparison.ranking.compared[1]
    assert other.label == "fixed" and other.standing.is_worse_here and not other.standing.is_worse
    assert other.standing.to_best is not None and other.standing.to_best.difference.p_value < 0.05
    assert (comparison.verdict.kind, comparison.verdict.best) == ("tie", ("sgd", "fixed"))
    assert "on these 40 test examples" in comparison.verdict.sentence
    assert "; on new examples it is not told apart from fixed (" in comparison.verdict.sentence
    assert any("cannot settle sgd against fixed on new examples" in note for note in comparison.verdict.notes)


@pytest.mark.slow
def test_a_contender_that_learns_nothing_is_told_apart_on_new_examples() -> None:
    budget = bench.Budget(studies=8, tuning_points=1, tuning_seeds=1, seeds=1, evaluations=4)
    run = bench.compare(
        problems=[clear(redraw=False)], optimizers=[SGD, IDLE], budget=budget, resources=INLINE, progress=False
    )
    (comparison,) = run.summary.comparisons
    assert (comparison.verdict.kind, comparison.verdict.best) == ("winner", ("sgd",))
    assert "; also on new examples (idle −" in comparison.verdict.sentence


@pytest.mark.long
def test_what_is_said_does_not_depend_on_what_ran_in_the_folder_before(tmp_path: Path) -> None:
    """Trials of a plan of several studies, which does not use their scores, serve a plan of one, which does."""

    def run(folder: Path, studies: int, seeds: int) -> bench.Result:
        budget = bench.Budget(studies=studies, tuning_points=1, tuning_seeds=1, seeds=seeds, evaluations=4)
        about: dict[str, Any] = {"problems": [clear(redraw=True)], "optimizers": [SGD, IDLE], "resources": INLINE}
        return bench.compare(budget=budget, folder=folder, progress=False, **about)

    before = run(tmp_path / "used", 2, 2).summary
    assert all(each.example_scores is None for each in before.comparisons[0].results)
    used, fresh = (run(tmp_path / name, 1, 7).summary for name in ("used", "fresh"))
    (first,), (second,) = used.comparisons, fresh.comparisons
    reused = [used.records[name].outcome.trial.stage for name in before.records.keys() & used.records.keys()]
    assert reused.count("final") == 4  # two seeds of each
    assert (
        first.verdict.sentence == second.verdict.sentence and "; also on new examples (idle " in first.verdict.sentence
    )
    assert first.verdict.notes == second.verdict.notes
    for one, other in zip(first.results, second.results, strict=True):
        assert one.example_scores is not None and other.example_scores is not None
        assert one.example_scores.tobytes() == other.example_scores.tobytes() and len(one.example_scores) == 7


@pytest.mark.long
def test_where_each_study_splits_the_examples_anew_there_is_no_column() -> None:
    arrays = points().dataset.train
    problem = classification(
        "anew",
        models.mlp((2,)),
        split("anew", dict(arrays)),
        batch_size=20,
        steps=8,
    )
    budget = bench.Budget(studies=2, tuning_points=1, tuning_seeds=1, seeds=1, evaluations=2)
    run = bench.compare(problems=[problem], optimizers=[SGD, IDLE], budget=budget, resources=INLINE, progress=False)
    (comparison,) = run.summary.comparisons
    assert comparison.problem.redraws_split
    assert not any("new examples" in name for name in ranking(comparison).header)
    assert run.table()["new_examples"].isna().all()
