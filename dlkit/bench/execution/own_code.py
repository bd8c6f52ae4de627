"""What is one's own in a plan, kept in its run folder, and bound to the plan again in a process without the files."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.execution.known_code import remember
from dlkit.bench.execution.parcels import Parcel, pack, unpack
from dlkit.bench.execution.progress import Listener
from dlkit.bench.machine.program import jax_settings
from dlkit.bench.plan.plan import Plan
from dlkit.bench.spec.bound_plan import BoundPlan, bind, problem_source
from dlkit.bench.store.kept_code import MOST_BYTES, About, KeptCode
from dlkit.bench.store.store import Store

__all__ = ["bind_kept", "keep_own_code", "open_kept", "owners_in", "require_this_python", "whose"]

# How the run folder calls what it keeps.
_problem, _optimizer, _probe = (partial("{} '{}'".format, kind) for kind in ("problem", "optimizer", "probe"))


def owners_in(plan: Plan) -> list[str]:
    """Returns what is the user's own in a plan, as the run folder calls it: ``"problem 'mine'"``."""
    problems = [_problem(each.name) for each in plan.problems if each.is_own]
    optimizers = [_optimizer(each.label) for each in plan.contenders if each.is_own]
    return problems + optimizers + [_probe(name) for name, is_own in plan.probes.items() if is_own]


def keep_own_code(bound: BoundPlan, store: Store, progress: Listener, *, anew: bool = False) -> list[About]:
    """Packs what is the user's own in a plan, each object by itself, and keeps it in the run folder unless it is there.

    Args:
        bound: the plan.
        store: the run folder; nothing is kept of a run in memory.
        progress: hears why something cannot be kept.
        anew: whether what is there computes something else.

    Returns:
        What is kept of it.
    """
    if store.folder is None:
        return []
    own: dict[str, Any] = {
        **{_problem(name): source.own for name, source in bound.problems.items()},
        **{_optimizer(label): method for label, method in bound.methods.items()},
        **{_probe(name): probe for name, probe in bound.probes.items()},
    }
    known = {each.owner: each for each in store.about_code(bound.plan.digest)}
    settings = jax_settings()
    kept = []
    for owner in owners_in(bound.plan):
        there = known.get(owner)
        if there is None or anew or (there.python, there.settings) != (_python(), settings):
            there = _keep(owner, own[owner], store, progress)
        kept += [there] if there else []
    return kept


def _keep(owner: str, value: Any, store: Store, progress: Listener) -> About | None:
    """Packs and keeps an object; says it if it cannot be kept."""
    try:
        parcel = pack(value)
    except UserError as error:
        progress.warn(
            f"{owner}: your code cannot be kept in the run folder, so that it alone cannot replay trials: {error}"
        )
        return None
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = About("", owner, parcel.code, _python(), now, parcel.settings, parcel.files)
    name = store.keep_code(KeptCode(facts, parcel.data, parcel.buffers))
    if name is None:
        progress.warn(
            f"{owner}: your code and the arrays that it holds are not kept in the run folder, which would have more "
            f"than {MOST_BYTES // 2**20} MiB of them: it alone cannot replay trials"
        )
        return None
    remember(name)
    return facts._replace(digest=name)


def require_this_python(about: About) -> None:
    """Refuses code that another Python made.

    Raises:
        UserError: with the version that can open it.
    """
    if about.python != _python():
        raise UserError(
            f"{about.owner}: the code that was kept with this run is byte code of Python {about.python}, and this is "
            f"Python {_python()}; replay it with Python {about.python}, or name the spec (dlkit replay RUN TRIAL "
            "--spec SPEC)"
        )


def whose(kept: Sequence[About]) -> str:
    """Says whose code opening some of it runs, and from which files it came."""
    files = dict.fromkeys(file for each in kept for file in (*each.files, *each.sources))
    return ", ".join(each.owner for each in kept) + (f", from {', '.join(files)}" if files else "")


def open_kept(kept: KeptCode) -> Any:
    """Opens what was kept of an object. This runs the user's code.

    Raises:
        UserError: if it cannot be opened here.
    """
    about = kept.about
    try:
        return unpack(Parcel(kept.data, kept.buffers, about.code, about.settings))
    except Exception as error:
        raise UserError(
            f"the code that was kept with this run ({about.owner}) cannot be opened here: "
            f"{type(error).__name__}: {error}"
        ) from error


def bind_kept(plan: Plan, own: Mapping[str, Any]) -> BoundPlan:
    """Finds the functions of a stored plan, one's own among what was kept and opened, and nowhere else.

    Args:
        plan: as it was stored.
        own: owner, as of `owners_in` -> what was opened.

    Returns:
        The bound plan, without what is one's own in it and was not kept.

    Raises:
        UserError: if data of the catalogue are not what they were.
    """
    found = bind(replace(plan, contenders=[each for each in plan.contenders if not each.is_own]))
    problems = {
        each.name: problem_source(each, each.batch_size or "full", each.metric, own[_problem(each.name)])
        for each in plan.problems
        if _problem(each.name) in own
    }
    labels = [each.label for each in plan.contenders if _optimizer(each.label) in own]
    return replace(
        found,
        plan=plan,
        problems={**found.problems, **problems},
        methods={**found.methods, **{label: own[_optimizer(label)] for label in labels}},
        probes={**found.probes, **{name: own[_probe(name)] for name in plan.probes if _probe(name) in own}},
    )


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
