"""Studies whose truth is known: whether what verdicts say here is true.

Most cases are simulated: everything but training is real. A few train small problems.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.claims import Sentence, claims
from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.summary import Summary, summarize
from dlkit.bench.execution import runner
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.simulation import World
from dlkit.bench.execution.truths import shares
from dlkit.bench.execution.work import prepare_process
from dlkit.bench.machine.doctor import Check
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.plan.space import uniform
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store.store import Store

__all__ = ["SIMULATED", "TRAINED", "Case", "examine_deeply", "least", "most"]

LEVEL = 0.05  # at which a sentence may be wrong
POWER = 0.95  # with which a planted difference of 2 sd is found
CHANCE = 1e-3  # that a sound sentence fails its limit
SAID: tuple[Sentence, ...] = ("winner", "worse", "groups", "faster", "flips")
CLASSES = 10


class Case(NamedTuple):
    """Studies in a simulated world.

    Attributes:
        subject: what they are about, in words.
        world: where the truth is known.
        planned: further arguments of `simulated_plan`.
        is_planted: whether there is a difference to find.
        studies: of the budget: with one, settings are compared.
    """

    subject: str
    world: World
    planned: Mapping[str, Any] = {}
    is_planted: bool = False
    studies: int = 10


SIMULATED = (
    *(
        Case(f"an optimizer against itself, {count} hyperparameters", World(dimensions=count, curvature=1.0))
        for count in (1, 3, 5)
    ),
    Case("six names of one optimizer", World(dimensions=3, curvature=1.0), {"contenders": 6}),
    Case("a hyperparameter that does nothing", World(curvature=0.0, trade=0.0)),
    Case("a third of the space diverges", World(dimensions=2, curvature=1.0, forbidden=0.33)),
    Case("settings that one tuning found", World(dimensions=3, curvature=1.0), studies=1),
    Case("permuted labels: 2 sd, but names change places", World(advantage=2.0, shuffled=True)),
    Case("a planted difference of 2 sd", World(advantage=2.0), is_planted=True),
)


def most(repeats: int, share: float = LEVEL) -> int:
    """Returns the most of so many repetitions in which something of that probability comes up, but for 1 in 1,000."""
    from scipy.stats import binom

    return int(binom.ppf(1 - CHANCE, repeats, share))


def least(repeats: int, share: float = POWER) -> int:
    """Returns the fewest of so many repetitions in which something of that probability comes up, but for 1 in 1,000."""
    return repeats - most(repeats, 1 - share)


def simulated(case: Case, repeats: int) -> Check:
    """Plays a case again and again.

    Args:
        case: which.
        repeats: how often.

    Returns:
        How often each sentence was wrong, or where there is something to find, how often it was found.
    """
    found = shares(case.world, Budget(studies=case.studies), repeats=repeats, **case.planned)
    limit = most(repeats)
    wrong = {name: count for name, count in found.wrong.items() if name in SAID}
    text = ", ".join(f"{name} {count}" for name, count in wrong.items())
    text = f"wrong in so many of {repeats}: {text} (each may be in {limit})"
    right = max(wrong.values()) <= limit
    if case.is_planted:
        needed = least(repeats)
        text = f"found in {found.right['winner']} of {repeats} (at least {needed}); {text}"
        right &= found.right["winner"] >= needed
    return Check(case.subject, text, right)


# --- cases that train ---


def _ran(problem: Any, contenders: Sequence[Contender], budget: Budget) -> Summary:
    """Runs contenders on a problem, in this process and in memory."""
    experiment = Experiment(
        name="deep doctor", problems=(ProblemChoice(problem=problem),), optimizers=tuple(contenders), budget=budget
    )
    with Store(None) as store:
        runner.run(planner.plan(experiment), store, InlineExecutor, Silent())
        return summarize(store)


def _claimed(comparison: Comparison) -> str:
    """What a comparison claims, in words."""
    found = [f"{claim.sentence}: {claim.ahead} before {claim.behind}" for claim in claims(comparison)]
    return "; ".join(found) or "nothing claimed"


def against_itself() -> Check:
    """Trains adam under two names, each with a draw of points of its own."""
    contenders = [Contender(optimizer="adam"), Contender(optimizer="adam", draw=1, label="adam again")]
    (comparison,) = _ran("quadratic", contenders, Budget()).comparisons
    # One run may be wrong by chance, in one of twenty for each sentence: that alone proves nothing.
    right = None if claims(comparison) else True
    return Check("adam against adam, trained on quadratic", _claimed(comparison), right)


def never_stopped() -> Check:
    """Trains with early stopping of a patience that no trial outlasts, and without: the same curves are due."""
    patient, fixed = EarlyStopping(patience=10_000), {"learning_rate": 0.03}
    contenders = [
        Contender(optimizer="adam", label="with", early_stopping=patient, space=fixed),
        Contender(optimizer="adam", label="without", early_stopping=False, space=fixed),
    ]
    budget = Budget(steps=100, evaluations=10, studies=2, tuning_points=1, seeds=2)
    (comparison,) = _ran("quadratic", contenders, budget).comparisons
    curves = {each.label: _curves(each) for each in comparison.results}
    same = sum(ours == theirs for ours, theirs in zip(*curves.values(), strict=True))
    count = len(curves["with"])
    return Check("early stopping that never stops", f"{same} of {count} curves have the same bits", same == count)


def _curves(result: ContenderResult) -> list[bytes]:
    every = [outcome.curves for outcome in result.outcomes if outcome is not None]
    return [b"".join(curves[name].tobytes() for name in sorted(curves)) for curves in every]


def meaningless_labels() -> Iterator[Check]:
    """Trains on digits whose labels are permuted: nothing can be known about new examples.

    One contender draws its weights from its hyperparameter: all it can do is fit the validation examples. Where the
    examples that select also judge, that looks like an advantage; test shows that it is none.
    """
    problem = _permuted_digits()
    contenders = [
        Contender(optimizer="adam", space={"learning_rate": 0.01}),
        Contender(optimizer=_drawing_weights(), label="drawn weights"),
    ]
    budget = Budget(steps=20, evaluations=2, studies=8, tuning_points=16, seeds=1)
    (comparison,) = _ran(problem, contenders, budget).comparisons
    results = {each.label: each for each in comparison.results}
    honest = {label: each.test for label, each in results.items()}
    examples = problem.dataset.test["targets"].size
    limit = most(examples, 1 / CLASSES) / examples
    text = ", ".join(f"{label} {interval.estimate:.3f}" for label, interval in honest.items())
    right = all(not interval.low > limit for interval in honest.values())
    yield Check(
        "permuted labels, trained: accuracy on test", f"{text}; chance is {1 / CLASSES}, at most {limit:.3f}", right
    )
    fitted = results["drawn weights"]
    said = [claim for claim in claims(comparison) if claim.ahead == fitted.label]
    text = (
        f"accuracy {fitted.final.estimate:.3f} on validation, {fitted.test.estimate:.3f} on test; "
        f"{'said to be ahead' if said else 'not said to be ahead'} of adam"
    )
    if said:
        text += ": validation selects and judges, so a claim is about these examples, not about new ones"
    yield Check("a contender that can only fit the validation examples", text, None if said else True)


def _permuted_digits() -> Any:
    from dlkit import models
    from dlkit.bench import data
    from dlkit.bench.problems.supervised import classification

    digits = data.digits()
    rng = np.random.default_rng(0)

    def permuted(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {"inputs": arrays["inputs"], "targets": rng.permutation(arrays["targets"])}

    train, validation, test = map(permuted, (digits.train, digits.validation, digits.test))
    dataset = data.Dataset("permuted-digits", train, validation, test, source=digits.source)
    return classification("permuted-digits", models.mlp((16, CLASSES)), dataset, batch_size=64, steps=20)


def _drawing_weights() -> Any:
    import jax
    import jax.numpy as jnp
    import optax

    from dlkit.bench.optimizers import Optimizer

    def build(place: Any) -> Any:
        def update(updates: Any, state: Any, params: Any = None) -> Any:
            key = jax.random.key(jnp.asarray(place * 1e6, jnp.uint32))
            leaves, tree = jax.tree.flatten(params)
            keys = jax.random.split(key, len(leaves))
            drawn = [jax.random.normal(one, jnp.shape(leaf)) for one, leaf in zip(keys, leaves, strict=True)]
            return jax.tree.map(lambda new, old: new - old, jax.tree.unflatten(tree, drawn), params), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    return Optimizer("drawn-weights", build, {"place": uniform(0.0, 1.0)})


def _each(check: Callable[[], Check]) -> Callable[[], Iterator[Check]]:
    return lambda: iter([check()])


TRAINED: Mapping[str, Callable[[], Iterator[Check]]] = {
    "never stopped": _each(never_stopped),
    "meaningless labels": meaningless_labels,
    "against itself": _each(against_itself),
}


def examine_deeply(*, repeats: int = 20) -> Iterator[Check]:
    """Yields what studies whose truth is known come to; each is right, wrong, or cannot be told from one run.

    Args:
        repeats: of each simulated study; with more, smaller errors show.
    """
    prepare_process()
    for case in SIMULATED:
        yield simulated(case, max(1, math.ceil(repeats)))
    for trained in TRAINED.values():
        yield from trained()
