"""The three orders of training examples, against what NumPy's generators and probability say of them."""

import itertools
import zlib
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dlkit import bench, models
from dlkit.bench import data, problems
from dlkit.bench.errors import UserError
from dlkit.bench.plan.trials import ORDERS, Order
from dlkit.bench.problems import Problem
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.planner import plan
from dlkit.bench.training.data_order import batches_of

EXAMPLES, BATCH = 23, 5
VALUES = np.arange(EXAMPLES, dtype=np.float32)


def rows(order: Order, examples: int = EXAMPLES, batch: int = BATCH) -> Problem:
    arrays = {"inputs": np.zeros((examples, 1), np.float32), "targets": np.zeros(examples, np.float32)}
    dataset = data.Dataset("rows", arrays, arrays, arrays)
    return problems.regression("rows", models.mlp((1,)), dataset, batch_size=batch, steps=12).variant(order=order)


def drawn(order: Order, steps: int, seed: int = 4, **sizes: int) -> np.ndarray[Any, Any]:
    return batches_of(rows(order, **sizes), "final", seed)(0, steps)


def test_a_fixed_order_is_the_first_permutation_again_and_again() -> None:
    words = np.array([zlib.crc32(b"rows") << 32 | 1, 4 << 32], np.uint64)
    permutation = np.random.Generator(np.random.Philox(key=words)).permutation(EXAMPLES)
    expected = permutation[:20].reshape(4, BATCH)
    np.testing.assert_array_equal(drawn("fixed", 12), np.tile(expected, (3, 1)))
    np.testing.assert_array_equal(drawn("reshuffle", 4), expected)
    assert (drawn("reshuffle", 12)[4:8] != expected).any(), "a fresh one in the second epoch"


def test_iid_batches_are_uniform_and_independent() -> None:
    batches = drawn("iid", 4000)
    assert all(len(set(batch)) == BATCH for batch in batches.tolist()), "no example twice in a batch"
    counts = np.bincount(batches.ravel(), minlength=EXAMPLES)
    assert stats.chisquare(counts).pvalue > 1e-3
    # Two independent draws of 5 of 23 share a hypergeometric number of examples; those of an epoch share none.
    shared = [len(set(one) & set(next_one)) for one, next_one in itertools.pairwise(batches)]
    expected = stats.hypergeom(EXAMPLES, BATCH, BATCH).pmf(range(4)) * len(shared)
    found = np.bincount(np.minimum(shared, 3), minlength=4)
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_does_not_depend_on_how_it_is_asked_for(order: Order) -> None:
    whole = drawn(order, 40)
    batches = batches_of(rows(order), "final", 4)
    for first, last in ((7, 9), (0, 3), (39, 40), (2, 33)):
        np.testing.assert_array_equal(batches(first, last), whole[first:last])
    assert (drawn(order, 40, seed=5) != whole).any()
    assert (batches_of(rows(order), "tuning", 4)(0, 40) != whole).any()


def test_a_batch_of_all_examples_has_each_once() -> None:
    for order in ORDERS:
        for batch in drawn(order, 3, batch=EXAMPLES):
            assert sorted(batch.tolist()) == list(range(EXAMPLES))


def summing(traces: list[int], batch_size: int = BATCH) -> Problem:
    """Plain descent on w * mean(x) with rate 1: the parameter is minus the sum of the batches' means."""

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        traces.append(1)
        return params * batch["x"].mean(), state

    split = {"x": VALUES}
    return bench.Problem(
        name="rows",
        init=lambda key: (np.float32(0), None),
        loss=loss,
        evaluate=lambda params, state, batch: {"place": params},
        dataset=data.Dataset("rows", split, split, split),
        metrics={"place": bench.Metric("lower")},
        batch_size=batch_size,
        steps=12,
    )


@pytest.mark.parametrize("order", ["iid", "fixed"])
def test_a_trial_by_hand_has_the_order_that_is_asked_for(order: Order) -> None:
    trained = bench.train(summing([]), "sgd", learning_rate=1.0, evaluations=12, order=order, seed=4)
    expected = -VALUES[drawn(order, 12)].mean(axis=1).cumsum()
    np.testing.assert_allclose(trained.curve["place"][1:], expected, rtol=1e-6)


def asked(*contenders: Contender, **settings: Any) -> Any:
    budget = bench.Budget(steps=8, evaluations=2, tuning_points=1, studies=1, tuning_seeds=1, seeds=2)
    entry = ProblemChoice(problem=settings.pop("problem", rows("fixed")), order=settings.pop("order", None))
    return plan(Experiment(name="x", problems=(entry,), optimizers=contenders, budget=budget, **settings))


def test_an_order_is_a_factor_and_part_of_what_a_trial_is() -> None:
    bound = asked(Contender(optimizer="sgd"), factors={"order": ["reshuffle", "iid"]})
    (problem,) = bound.plan.problems
    found = {}
    every = [bound.plan.tuning_trials(problem, contender)[0] for contender in bound.plan.contenders]
    groups = {bound.group(problem, contender, {}).key for contender in bound.plan.contenders}
    for contender, (trial, *_) in zip(bound.plan.contenders, every, strict=True):
        found[contender.label] = (trial.order, contender.levels)
    assert found == {
        "sgd (reshuffle order)": ("reshuffle", {"optimizer": "sgd", "order": "reshuffle"}),
        "sgd (iid order)": ("iid", {"optimizer": "sgd", "order": "iid"}),
    }
    assert len({trial.id for trials in every for trial in trials}) == 2
    assert len(groups) == 1


@pytest.mark.long
def test_orders_train_in_one_program_and_each_on_its_own_batches() -> None:
    def compared(orders: list[Order], batch_size: int) -> tuple[int, Any]:
        traces: list[int] = []
        result = bench.compare(
            problems=[summing(traces, batch_size)],
            optimizers=[bench.Contender(optimizer="sgd", space={"learning_rate": 1.0})],
            factors={"order": orders},
            budget=bench.Budget(steps=12, evaluations=12, tuning_points=1, studies=1, tuning_seeds=1, seeds=2),
            resources=bench.Resources(executor="inline"),
            progress=False,
        )
        return len(traces), result.curves()

    alone, _ = compared(["fixed"], BATCH - 1)  # another problem: this process keeps programs
    together, curves = compared(["fixed", "iid", "reshuffle"], BATCH)
    assert together == alone
    for order in ORDERS:
        for seed, rows in curves[curves.optimizer == f"sgd ({order} order)"].groupby("seed"):
            expected = -VALUES[drawn(order, 12, seed=seed)].mean(axis=1).cumsum()
            np.testing.assert_allclose(rows[rows.metric == "place"].value.to_numpy()[1:], expected, rtol=1e-6)


def test_what_is_no_order_is_refused() -> None:
    with pytest.raises(UserError, match=r"problem 'rows': no order 'fixd'; did you mean 'fixed'\?"):
        rows("fixd")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"optimizer 'sgd .*': no order 'sorted'; expected one of 'fixed', 'iid', "):
        Contender(optimizer="sgd", order="sorted")  # type: ignore[arg-type]
    with pytest.raises(
        UserError, match=r"'sgd \(iid order\)' and 1 more: an order changes nothing on problem 'quadratic'"
    ):
        asked(Contender(optimizer="sgd"), problem="quadratic", factors={"order": ["iid", "fixed"]})
    with pytest.raises(UserError, match=r"'sgd \(full batch, iid order\)': an order changes nothing on problem 'rows'"):
        asked(Contender(optimizer="sgd", order="iid", batch_size="full"), Contender(optimizer="adam", order="fixed"))
