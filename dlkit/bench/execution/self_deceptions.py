"""Small trained comparisons in which nothing can be better, but something looks it: what is said of them.

Each contender that deceives can only fit the examples that select. Where those judge, too, it wins.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlkit.bench.analysis.claims import claims
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.progress import Silent
from dlkit.bench.machine.doctor import Check
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.space import Space, uniform
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store

__all__ = ["TRAINED"]

CLASSES = 10
VALUES = 64  # of a hyperparameter that means nothing


def _ran(problem: Any, contenders: Sequence[Contender], budget: Budget) -> Comparison:
    """Compares contenders on a problem, in this process and in memory."""
    experiment = Experiment(
        name="deep doctor", problems=(ProblemChoice(problem=problem),), optimizers=tuple(contenders), budget=budget
    )
    with Store(None) as store:
        runner.run(planner.plan(experiment), store, InlineExecutor, Silent())
        (comparison,) = summarize(store).comparisons
        return comparison


def _check(subject: str, comparison: Comparison, deceiver: str = "") -> Check:
    """What is claimed; wrong claims are, of one run, right in one of twenty: that alone proves nothing.

    Args:
        subject: of the check.
        comparison: of contenders that are no better than each other.
        deceiver: the one that must not be ahead, and may be worse; none: no two may be told apart.
    """
    found = [claim for claim in claims(comparison) if deceiver in ("", claim.ahead)]
    said = "; ".join(f"{claim.sentence}: {claim.ahead} before {claim.behind}" for claim in found)
    values = ", ".join(f"{each.label} {_values(comparison, each)}" for each in comparison.results)
    return Check(subject, f"{said or 'nothing claimed'}; {values}", None if found else True)


def _values(comparison: Comparison, result: Any) -> str:
    if comparison.problem.judged_on == "objective":
        return f"{result.final.estimate:.3g}"
    return f"{result.validation.estimate:.3f} on validation, {result.final.estimate:.3f} on test"


def against_itself() -> Check:
    """Trains adam under two names, each with a draw of points of its own."""
    contenders = [Contender(optimizer="adam"), Contender(optimizer="adam", draw=1, label="adam again")]
    return _check("adam against adam, trained on quadratic", _ran("quadratic", contenders, Budget()))


def never_stopped() -> Check:
    """Trains with early stopping of a patience that no trial outlasts, and without.

    The curves are the same. What is restored was best on validation, among noisy evaluations: on test that is no gain.
    """
    patient, fixed = EarlyStopping(patience=10_000), {"learning_rate": 0.1}
    contenders = [
        Contender(optimizer="sgd", label="never stopped", early_stopping=patient, space=fixed),
        Contender(optimizer="sgd", early_stopping=False, space=fixed),
    ]
    budget = Budget(steps=400, evaluations=20, tuning_points=1, seeds=2)
    comparison = _ran(_noisy_classes(), contenders, budget)
    ours, theirs = (_curves(each) for each in sorted(comparison.results, key=lambda each: each.label))
    same = sum(mine == others for mine, others in zip(ours, theirs, strict=True))
    check = _check("early stopping that never stops", comparison, "never stopped")
    right = check.right if same == len(ours) else False
    return check._replace(text=f"{same} of {len(ours)} curves have the same bits; {check.text}", right=right)


def _curves(result: Any) -> list[bytes]:
    every = [outcome.curves for outcome in result.outcomes if outcome is not None]
    return [b"".join(curves[name].tobytes() for name in sorted(curves)) for curves in every]


def random_offsets() -> Check:
    """Trains with a random offset of the parameters that are evaluated, one of many: which one, validation selects."""
    import jax
    import jax.numpy as jnp
    import optax

    from dlkit.bench.optimizers import Optimizer

    def build(learning_rate: Any, offset: Any) -> Any:
        return optax.chain(optax.sgd(learning_rate), _remembering(offset))

    def moved(state: Any, params: Any) -> Any:
        key = jax.random.key(jnp.asarray(state[1].number * VALUES, jnp.uint32))
        return jax.tree.map(lambda each, draw: each + 0.2 * draw, params, optax.tree.random_like(key, params))

    space: Space = {"learning_rate": 0.1, "offset": uniform(0.0, 1.0)}
    offset = Optimizer("sgd and an offset", build, space, eval_params=moved)
    contenders = [Contender(optimizer=offset), Contender(optimizer="sgd", space={"learning_rate": 0.1})]
    comparison = _ran(_noisy_classes(), contenders, Budget(steps=200, evaluations=4, tuning_points=VALUES))
    return _check(f"one of {VALUES} random offsets", comparison, offset.name)


def _remembering(value: Any) -> Any:
    """A transformation that does nothing and keeps a number in its state."""
    from typing import NamedTuple

    import jax.numpy as jnp
    import optax

    class Remembered(NamedTuple):
        number: Any

    return optax.GradientTransformation(
        lambda params: Remembered(jnp.asarray(value, jnp.float32)), lambda updates, state, params=None: (updates, state)
    )


def meaningless_hyperparameter() -> Check:
    """Trains with a hyperparameter of many values that seeds a noise of the gradient: some seed is best by luck."""
    import jax
    import jax.numpy as jnp
    import optax

    from dlkit.bench.optimizers import Optimizer

    def build(learning_rate: Any, value: Any) -> Any:
        def update(gradients: Any, count: Any, params: Any = None) -> Any:
            key = jax.random.fold_in(jax.random.key(jnp.asarray(value * VALUES, jnp.uint32)), count)
            drawn = optax.tree.random_like(key, gradients)
            moved = jax.tree.map(lambda each, draw: -learning_rate * (each + 0.3 * draw), gradients, drawn)
            return moved, count + 1

        return optax.GradientTransformation(lambda params: jnp.int32(0), update)

    many = Optimizer("noise of a tuned seed", build, {"learning_rate": 0.1, "value": uniform(0.0, 1.0)})
    one = Optimizer("noise", build, {"learning_rate": 0.1, "value": 0.5})
    budget = Budget(steps=200, evaluations=4, tuning_points=VALUES)
    comparison = _ran(_noisy_classes(), [Contender(optimizer=many), Contender(optimizer=one)], budget)
    return _check(f"a hyperparameter of {VALUES} values that mean nothing", comparison)


def meaningless_labels() -> Check:
    """Trains on permuted labels; one contender draws its weights from its hyperparameter, and can only fit validation.

    Whatever is said, what judges must be at chance.
    """
    from dlkit import models
    from dlkit.bench import data
    from dlkit.bench.problems.supervised import classification

    digits = data.digits()
    rng = np.random.default_rng(0)

    def permuted(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {"inputs": arrays["inputs"], "targets": rng.permutation(arrays["targets"])}

    train, validation, test = map(permuted, (digits.train, digits.validation, digits.test))
    dataset = data.Dataset("permuted-digits", train, validation, test, source=digits.source)
    problem = classification("permuted-digits", models.mlp((16, CLASSES)), dataset, batch_size=64, steps=20)
    contenders = [
        Contender(optimizer="adam", space={"learning_rate": 0.01}),
        Contender(optimizer=_drawing_weights(), label="drawn weights"),
    ]
    comparison = _ran(problem, contenders, Budget(steps=20, evaluations=2, studies=8, tuning_points=16, seeds=1))
    limit = 1 / CLASSES + 4 * math.sqrt((1 / CLASSES) * (1 - 1 / CLASSES) / dataset.sizes[2])
    check = _check("permuted labels, and weights drawn to fit validation", comparison, "drawn weights")
    at_chance = all(not result.final.low > limit for result in comparison.results)
    return check._replace(text=f"{check.text}; chance is {1 / CLASSES}", right=check.right if at_chance else False)


def _drawing_weights() -> Any:
    import jax
    import jax.numpy as jnp
    import optax

    from dlkit.bench.optimizers import Optimizer

    def build(place: Any) -> Any:
        def update(updates: Any, state: Any, params: Any = None) -> Any:
            key = jax.random.key(jnp.asarray(place * 1e6, jnp.uint32))
            return jax.tree.map(jnp.subtract, optax.tree.random_like(key, params), params), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    return Optimizer("drawn-weights", build, {"place": uniform(0.0, 1.0)})


def _noisy_classes() -> Any:
    """Two classes, few examples, and a quarter of the labels wrong: accuracies are noisy."""
    from dlkit import models
    from dlkit.bench import data
    from dlkit.bench.problems.supervised import classification

    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((300, 5)).astype(np.float32)
    wrong = rng.random(len(inputs)) < 0.25
    arrays = {"inputs": inputs, "targets": ((inputs.sum(axis=1) > 0) ^ wrong).astype(np.int32)}
    dataset = data.split("noisy classes", arrays, source="synthetic: a plane, a quarter of the labels wrong")
    return classification("noisy-classes", models.mlp((8, 2)), dataset, batch_size=16, steps=200)


TRAINED: Mapping[str, Callable[[], Check]] = {
    "never stopped": never_stopped,
    "random offsets": random_offsets,
    "meaningless hyperparameter": meaningless_hyperparameter,
    "meaningless labels": meaningless_labels,
    "against itself": against_itself,
}
