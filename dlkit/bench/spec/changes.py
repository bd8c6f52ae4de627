"""An experiment with some of its settings changed, as the command line changes those of a spec."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.plan.policies import Settling
from dlkit.bench.spec.budget import AMOUNTS
from dlkit.bench.spec.entries import Experiment

__all__ = ["changed"]


def changed(
    experiment: Experiment,
    *,
    budget: Mapping[str, Any] | None = None,
    until_settled: bool | None = None,
    settling: Mapping[str, Any] | None = None,
    expand: bool | None = None,
    timing: bool | None = None,
    probes: Sequence[str] | None = None,
) -> Experiment:
    """Returns an experiment with other settings; what is not given stays as it is.

    Args:
        experiment: what was asked.
        budget: setting of the budget -> its new value. How many points are tried is said in one of several ways
            (`budget.AMOUNTS`): one of them takes the place of whichever the experiment has.
        until_settled: whether studies, or seeds of a single one, are added until it is settled who is best.
        settling: setting of `Settling` -> its new value.
        expand: whether spaces whose winners lie at an edge are widened.
        timing: whether steps are timed at the end.
        probes: names or references of diagnostics; a file's path starts at the current folder.

    Returns:
        The experiment.

    Raises:
        UserError: for a value that cannot be, or settings of `Settling` where nothing is to be settled.
    """
    given = dict(budget or {})
    if any(name in given for name in AMOUNTS):
        given = dict.fromkeys(AMOUNTS) | given
    rule = experiment.settling
    if until_settled is not None:
        rule = (rule or Settling()) if until_settled else None
    if settling and rule is None:
        names = " and ".join(f"settling.{name}" for name in settling)
        raise UserError(f"{names}: nothing is to be settled; ask for it with --until-settled, or leave this out")
    return replace(
        experiment,
        budget=replace(experiment.budget, **given),
        settling=replace(rule, **(settling or {})) if rule else None,
        expand=experiment.expand if expand is None else expand,
        timing=experiment.timing if timing is None else timing,
        probes=experiment.probes if probes is None else tuple(probes),
    )
