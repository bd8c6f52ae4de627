"""A store with a row of everything, and what one sees of it: for tests that damage it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.identity.local_code import LocalCode, LocalModule
from dlkit.bench.plan.json import to_json
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Timing
from dlkit.bench.store.kept_code import About, KeptCode
from dlkit.bench.store.store import Store
from dlkit.bench.tuning.targets import Ending, Frozen
from tests.bench.synthetic import PROGRAM, fill, make_plan

__all__ = ["PLAN", "Seen", "make_full_store", "see"]

PLAN = make_plan(("sgd", "adam"), points=3, seeds=3, tuning_seeds=1)


def make_full_store(folder: Path) -> None:
    """Fills every table of a run folder's store."""
    rng = np.random.default_rng(0)
    with Store(folder) as store:
        fill(store, PLAN)
        about = About(
            "", "problem 'bowl'", LocalCode({"m": LocalModule("/m.py", "X = 1\n", False)}), "3.12", "2000-01-01", {}
        )
        name = store.keep_code(KeptCode(about, b"code" * 50, [bytearray(rng.bytes(9000))]))
        assert name is not None
        store.use_plan(PLAN, {"own.py": "text"}, [about._replace(digest=name)])
        records = store.records()
        kept = [
            replace(
                record.outcome,
                samples=rng.normal(size=(2, 6, 6)).astype(np.float32) if number == 0 else None,
                example_scores=(rng.random(300) < 0.5).astype(np.float32) if record.outcome.trial.is_judged else None,
                gradients=record.outcome.steps * 2.0,
            )
            for number, record in enumerate(records.values())
        ]
        store.add(kept, PROGRAM)
        store.keep_broken([replace(kept[0], status="failed", reason="it raised")], PROGRAM)
        store.add([replace(kept[1], seconds=7.0)], {**PROGRAM, "jax": "another"})
        store.add_points("a search", 0, [Point({"learning_rate": rate}, {}) for rate in (0.1, 0.2, 0.3)])
        store.keep_timings({key: Timing((0.1, 0.2), 0.3, 10, 20) for key in ("one", "two")}, PROGRAM, "here")
        store.freeze("key", "bowl", Frozen((0.5, 0.25), "first", "d1"))
        store.keep_endings({each.trial.id: (0.1, Ending("reached", 40)) for each in kept})


@dataclass(frozen=True)
class Seen:
    """What a reader sees of a store.

    Attributes:
        parts: what -> its entries, by name.
        said: what is said to be lost.
    """

    parts: Mapping[str, Mapping[str, Any]]
    said: list[str]


def see(folder: Path) -> Seen:
    """Reads everything that a store has."""
    with Store(folder, write=False) as store:
        plan = store.current_plan()
        kept = store.code(plan.digest, "problem 'bowl'")
        parts: dict[str, Mapping[str, Any]] = {
            "plan": {"digest": plan.digest, "text": to_json(plan), "sources": store.sources(plan.digest)},
            "records": {name: _bits(record) for name, record in store.records().items()},
            "broken": {name: _bits(record) for name, record in store.broken().items()},
            "drawn": {key: list(map(to_json, points)) for key, points in store.drawn().items()},
            "timings": {key: to_json(each) for key, each in store.timings().items()},
            "targets": store.frozen(),
            "of": store.problems_of_targets(),
            "endings": store.endings(),
            "code": {} if kept is None else {"data": kept.data, "buffers": kept.buffers, "about": kept.about},
            "program": store.program() or {},
            "manifest": store.manifest(),
            "apart": {each.program["jax"]: (each.trials, each.set_aside) for each in store.apart()},
        }
        return Seen(parts, store.damaged)


def _bits(record: Any) -> Any:
    outcome = record.outcome
    arrays = (outcome.steps, outcome.samples, outcome.example_scores, outcome.gradients)
    return (
        dict(outcome.trial.identity),
        outcome.status,
        outcome.reason,
        outcome.traceback,
        repr((outcome.diverged_at, outcome.seconds, outcome.compile_seconds, outcome.restored_at)),
        repr(sorted(outcome.validation.items())),
        tuple(outcome.evaluations),
        {name: points.tobytes() for name, points in outcome.curves.items()},
        [None if each is None else each.tobytes() for each in arrays],
        dict(record.program),
    )
