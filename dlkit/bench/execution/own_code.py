"""What is one's own in a plan, kept in its run folder, and bound to the plan again in a process without the files."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import jax

from dlkit.bench.errors import UserError
from dlkit.bench.execution.parcels import Parcel, pack, unpack
from dlkit.bench.execution.progress import Listener
from dlkit.bench.machine.program import JAX_SETTINGS
from dlkit.bench.plan.plan import Plan
from dlkit.bench.probes import Probe
from dlkit.bench.spec.bound_plan import BoundPlan, Method, OwnProblem, bind, problem_source
from dlkit.bench.store.kept_code import MOST_BYTES, About, KeptCode
from dlkit.bench.store.store import Store

__all__ = ["bind_kept", "keep_own_code", "require_this_python", "whose"]


class _Own(NamedTuple):
    """One's own objects of a plan, by the names that the plan has for them."""

    problems: Mapping[str, OwnProblem]
    methods: Mapping[str, Method]
    probes: Mapping[str, Probe]


def keep_own_code(bound: BoundPlan, store: Store, progress: Listener, *, anew: bool = False) -> About | None:
    """Packs what is the user's own in a plan and keeps it in the run folder, unless it is there.

    Args:
        bound: the plan.
        store: the run folder; nothing is kept of a run in memory.
        progress: hears why something cannot be kept.
        anew: whether what is there computes something else.

    Returns:
        What is kept of it; None if nothing is.
    """
    plan = bound.plan
    own = _Own(
        {each.name: source for each in plan.problems if (source := bound.problems[each.name].own) is not None},
        {each.label: bound.methods[each.label] for each in plan.contenders if each.is_own},
        {name: bound.probes[name] for name, is_own in plan.probes.items() if is_own},
    )
    if store.folder is None or not any(own):
        return None
    known = store.about_code(plan.digest)
    settings = {name: getattr(jax.config, name) for name in JAX_SETTINGS}
    if known is not None and (known.python, known.settings) == (_python(), settings) and not anew:
        return known
    owners = [f"problem '{name}'" for name in own.problems] + [f"optimizer '{label}'" for label in own.methods]
    owners += [f"probe '{name}'" for name in own.probes]
    try:
        parcel = pack(own)
    except UserError as error:
        progress.warn(f"your code cannot be kept in the run folder, so that it alone cannot replay trials: {error}")
        return None
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = About("", owners, parcel.code, _python(), now, parcel.settings, parcel.files)
    name = store.keep_code(KeptCode(facts, parcel.data, parcel.buffers))
    if name is None:
        progress.warn(
            f"your code and the arrays that it holds are not kept in the run folder, which would have more than "
            f"{MOST_BYTES // 2**20} MiB of them: it alone cannot replay trials"
        )
        return None
    return facts._replace(digest=name)


def require_this_python(about: About) -> None:
    """Refuses code that another Python made.

    Raises:
        UserError: with the version that can open it.
    """
    if about.python != _python():
        raise UserError(
            f"the code that was kept with this run is byte code of Python {about.python}, and this is Python "
            f"{_python()}; replay it with Python {about.python}, or name the spec (dlkit replay RUN TRIAL --spec SPEC)"
        )


def whose(about: About) -> str:
    """Says whose code opening it runs, and from which files it came."""
    files = dict.fromkeys([*about.files, *(each.path for each in about.code.modules.values() if each.text)])
    return ", ".join(about.owners) + (f", from {', '.join(files)}" if files else "")


def bind_kept(plan: Plan, kept: KeptCode) -> BoundPlan:
    """Finds the functions of a stored plan, one's own in what was kept of them. This runs the user's code.

    Raises:
        UserError: if the code cannot be opened here, or data of the catalogue are not what they were.
    """
    try:
        own: _Own = unpack(Parcel(kept.data, kept.buffers, kept.about.code, kept.about.settings))
    except Exception as error:
        raise UserError(
            f"the code that was kept with this run ({', '.join(kept.about.owners)}) cannot be opened here: "
            f"{type(error).__name__}: {error}"
        ) from error
    others = [each for each in plan.contenders if each.label not in own.methods]
    found = bind(replace(plan, contenders=others))
    problems = {
        each.name: problem_source(each, each.batch_size or "full", each.metric, own.problems[each.name])
        for each in plan.problems
        if each.name in own.problems
    }
    return replace(
        found,
        plan=plan,
        problems={**found.problems, **problems},
        methods={**found.methods, **own.methods},
        probes={**found.probes, **own.probes},
    )


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
