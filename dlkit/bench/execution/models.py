"""Trained models: those that a run kept, or trained again bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dlkit.bench.analysis.best_trial import best_trial
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.execution.bit_comparison import compared
from dlkit.bench.execution.packed_models import unpack_model
from dlkit.bench.execution.replay import ran_again
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.trials import Outcome
from dlkit.bench.problems import Problem
from dlkit.bench.spec.bound_plan import BoundPlan, bind
from dlkit.bench.store.models import PackedModel, every_model, read_model
from dlkit.typing import Params, State

__all__ = ["KeptModel", "best_model"]


@dataclass(frozen=True, eq=False)
class KeptModel:
    """What the best final trial of a contender on a problem ended with.

    Attributes:
        problem: name of the problem.
        contender: label.
        trial: id of the trial.
        seed: its seed, one of the final stage's.
        hyperparameters: those that tuning chose, with the static choices.
        params: the parameters, as the problem's functions take them; arrays of NumPy.
        state: the state; None where there is none.
        test: metric -> value on what judges, as in the trial's curve.
        validation: metric -> value on validation.
    """

    problem: str
    contender: str
    trial: str
    seed: int
    hyperparameters: Mapping[str, Any]
    params: Params
    state: State
    test: Mapping[str, float]
    validation: Mapping[str, float]
    _load: Any = None

    def load_problem(self) -> Problem:
        """Returns the problem as the contender trained on it.

        Its functions take `params` and `state`: ``problem.evaluate(params, state, problem.dataset.test)``.

        Raises:
            UserError: for a problem of one's own, in a run that was opened from its folder.
        """
        found: Problem = self._load()
        return found


def best_model(
    summary: Summary,
    contender: str,
    problem: str | None,
    *,
    bound: BoundPlan | None,
    folder: Path | None,
    retrain: bool,
) -> KeptModel:
    """Returns the model of the best final trial of a contender on a problem: see `best_trial`.

    Args:
        summary: of the run.
        contender: label.
        problem: name; None where there is only one.
        bound: the functions that ran, if they are at hand.
        folder: the run folder; None for a run in memory.
        retrain: whether it is trained again where it was not kept.

    Raises:
        UserError: for names that there are not, a model that was not kept, or one that is damaged.
    """
    facts, result = _result(summary, contender, problem)
    best = best_trial(facts, result)
    owner = f"{contender} on {facts.name}"
    if isinstance(best, str):
        raise UserError(f"{owner}: there is no model: {best}")
    kept = {(each.problem, each.contender): each for each in every_model(folder)} if folder is not None else {}
    about = kept.get((facts.name, contender))
    if folder is not None and about is not None and about.trial == best.trial.id:
        packed = PackedModel(read_model(folder, about), about.structure)
    elif retrain:
        packed = _trained_again(summary, best, bound, folder)
    else:
        stale = "the model that was kept is not of its best trial any more" if about else "its model was not kept"
        raise UserError(
            f"{owner}: {stale}; give result.best(..., retrain=True), which trains this one trial again, or run the "
            "experiment with keep = 'best': of a finished run it trains the best trials only"
        )
    chosen = {**best.trial.hyperparameters, **best.trial.identity["optimizer"]["static"]}
    load = partial(_load, summary, bound, facts, result.contender, chosen)
    params, state = unpack_model(packed, load)
    at_end = {metric: best.final(metric) for metric in facts.metrics}
    names = (facts.name, contender, best.trial.id, best.trial.seed)
    return KeptModel(*names, chosen, params, state, at_end, dict(best.validation), load)


def _result(summary: Summary, contender: str, problem: str | None) -> tuple[PlannedProblem, ContenderResult]:
    comparisons = {each.problem.name: each for each in summary.comparisons}
    if problem is None and len(comparisons) > 1:
        raise UserError(f"name the problem too, one of {', '.join(comparisons)}: result.best('{contender}', PROBLEM)")
    name = next(iter(comparisons)) if problem is None else problem
    if name not in comparisons:
        raise UserError(f"no problem '{name}'; {nearest(str(name), comparisons)}")
    results = {each.label: each for each in comparisons[name].results}
    if contender not in results:
        raise UserError(f"no optimizer '{contender}' on {name}; {nearest(str(contender), results)}")
    return comparisons[name].problem, results[contender]


def _trained_again(summary: Summary, best: Outcome, bound: BoundPlan | None, folder: Path | None) -> PackedModel:
    ((outcome, then, done),) = ran_again(summary, [best.trial.id], bound, folder)
    replay = compared(outcome, then, done)
    if not replay.exact:
        differing = ", ".join(sorted(replay.program)) or "nothing that is known"
        raise UserError(
            f"trial {best.trial.id} gives other numbers here than when it ran (its program differs in {differing}), so "
            "its model would be another one; retrain where it ran"
        )
    (packed,) = done.models
    if not isinstance(packed, PackedModel):
        raise UserError(f"trial {best.trial.id}: {packed}")
    return packed


def _load(
    summary: Summary,
    bound: BoundPlan | None,
    problem: PlannedProblem,
    contender: PlannedContender,
    chosen: Mapping[str, Any],
) -> Problem:
    """The problem as a contender trained on it, with the choices that tuning made."""
    alone = replace(summary.plan, problems=[problem], contenders=[contender])
    found = (bound or bind(alone)).problems.get(problem.name)
    if found is None:
        raise UserError(
            f"problem '{problem.name}' is your own: use your problem's functions with the model's params and state, or "
            "call best on the result of the script that ran it"
        )
    tuned = {name: chosen[name] for name in contender.tuned_choices}
    return found.with_batches_of(contender).with_choices({**contender.choices, **tuned}).load()
