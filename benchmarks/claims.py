"""How often is each sentence of a verdict wrong, and how often does it see what is there? Whole studies, not trained.

    python -m benchmarks.claims             # every table of docs/statistics.md, about an hour
    python -m benchmarks.claims methods power --repeats 200
    python -m benchmarks.claims settings --case lognormal

A rate from R repetitions has a standard error of sqrt(p (1 - p) / R): 0.7 points near 5 % for 1,000.
"""

import argparse
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.block_simulation import block_shares, power_of_means, settlements
from dlkit.bench.analysis.claims import SENTENCES
from dlkit.bench.analysis.comparison import compare_on
from dlkit.bench.execution.simulation import World, play, simulated_plan, training
from dlkit.bench.execution.truths import FLAGS, Shares, shares
from dlkit.bench.spec.budget import Budget
from dlkit.bench.tuning.sampling import TUNERS

__all__ = ["POWER", "SIZES", "WHOLE", "Case"]

LEVELS = [{"optimizer": f"x{one}", "schedule": f"s{other}"} for one in range(2) for other in range(2)]
OF_ONE = ("winner", "worse", "groups", "faster", "flips")


class Case(NamedTuple):
    """What is simulated: a world, a budget, and further arguments of `simulated_plan`."""

    label: str
    world: World
    budget: Mapping[str, Any] = {}
    planned: Mapping[str, Any] = {}

    @property
    def seed(self) -> int:
        """Of all that is drawn: rows are independent of each other."""
        return zlib.crc32(self.label.encode())

    def of(self, studies: int) -> Budget:
        """Returns the budget of methods, over ten studies, or of settings, from one."""
        points = {"tuning_points": 16} if studies == 1 else {}
        return Budget(**{"studies": studies, **points, **self.budget})


BENT = World(curvature=3.0, trade=0.1, late=2.5, advantage=2.5, target=6.5)
SIZES = (
    *(Case(f"1 hyperparameter, {bowl or 'flat'}", World(curvature=bowl)) for bowl in (0.0, 0.3, 1.0, 3.0)),
    *(Case(f"3 hyperparameters, {bowl}", World(dimensions=3, curvature=bowl)) for bowl in (0.3, 1.0, 3.0)),
    Case("5 hyperparameters, 1", World(dimensions=5, curvature=1.0)),
    Case("30 % of the trials diverge", World(dimensions=3, curvature=1.0, diverging=0.3)),
    Case("30 % of the space diverges", World(dimensions=3, curvature=1.0, forbidden=0.3)),
    Case("Student t(2)", World(dimensions=3, curvature=1.0, noise="t2")),
    Case("lognormal", World(dimensions=3, curvature=1.0, noise="lognormal")),
    Case("ties: values are whole numbers", World(dimensions=3, curvature=1.0, rounding=1.0)),
    Case("one is three times as noisy, flat", World(dimensions=3, curvature=0.0, uneven=3.0, target=None)),
    Case("common points", World(dimensions=3, curvature=1.0), {}, {"common_points": True}),
    Case("8 points", World(dimensions=3, curvature=1.0), {"tuning_points": 8}),
    Case("16 points, 6 studies", World(dimensions=3, curvature=1.0), {"tuning_points": 16, "studies": 6}),
    Case("random points", World(dimensions=3, curvature=1.0), {"tuner": "random"}),
    Case("20 studies, or 20 seeds", World(dimensions=3, curvature=1.0), {"seeds": 20, "studies": 20}),
    Case("half of the seeds miss the target", World(target=0.5)),
    Case("rate of convergence apart from score", World(trade=0.0)),
    Case("rate of convergence against score", World(trade=1.5)),
    Case("names change places in each study, 2 sd", World(advantage=2.0, shuffled=True)),
    Case("6 contenders", World(dimensions=3, curvature=1.0), {}, {"contenders": 6}),
    Case("6 contenders, lognormal", World(dimensions=3, curvature=1.0, noise="lognormal"), {}, {"contenders": 6}),
    Case("12 contenders", World(dimensions=3, curvature=1.0), {}, {"contenders": 12}),
    Case("2 x 2 levels of factors that do nothing", World(dimensions=3, curvature=1.0), {}, {"factors": LEVELS}),
)
WHOLE = (
    Case("1 hyperparameter, 0.3", World()),
    Case("3 hyperparameters, 1", World(dimensions=3, curvature=1.0)),
    Case("successive halving, 9 points", World(dimensions=3, curvature=1.0), {"tuning_points": 9, "halving": 3}),
    Case("zoom", World(dimensions=3, curvature=1.0), {"tuner": "zoom", "tuning_points": 8}),
    Case("one faster, the other better", BENT),
)
POWER = (
    *(Case(f"1 hyperparameter, 0.3: {sd:g} sd", World(advantage=sd)) for sd in (1.0, 2.0)),
    *(Case(f"3 hyperparameters, 0.3: {sd:g} sd", World(dimensions=3, advantage=sd)) for sd in (1.0, 2.0)),
    *(Case(f"3 hyperparameters, 1: {sd:g} sd", World(dimensions=3, curvature=1.0, advantage=sd)) for sd in (1.0, 2.0)),
    Case("6 contenders, the last better by 2 sd", World(advantage=2.0), {}, {"contenders": 6}),
    Case("12 contenders, the last better by 2 sd", World(advantage=2.0), {}, {"contenders": 12}),
    Case("one faster, the other better by 2.5 sd", BENT),
)
SETTLED = (
    Case("2 equals", World()),
    Case("2 equals, 3 hyperparameters, 1", World(dimensions=3, curvature=1.0)),
    Case("2 equals, Student t(2)", World(noise="t2")),
    Case("2 equals, lognormal", World(noise="lognormal")),
    Case("4 equals", World(), {}, {"contenders": 4}),
    Case("1 sd", World(advantage=1.0)),
    Case("2 sd", World(advantage=2.0)),
)
# studies, points, fresh seeds: at most 60 trials a contender
DESIGNS = ((6, 6, 3), (7, 6, 2), (8, 5, 2), (8, 4, 3), (9, 4, 2), (10, 4, 2), (12, 3, 2))
SPACES = (
    ("right", World(dimensions=3, curvature=1.0)),
    ("right, 1 hyperparameter, 0.3", World()),
    ("right, 5 hyperparameters, 1", World(dimensions=5, curvature=1.0)),
    ("the best value beyond the edge", World(dimensions=1, curvature=1.0, centre=3.0)),
    ("the same of 3", World(dimensions=3, curvature=1.0, centre=3.0)),
    ("80 % diverges", World(dimensions=1, curvature=1.0, forbidden=0.8)),
)


def _head(*columns: str) -> None:
    print("| " + " | ".join(columns) + " |\n|---|" + "---:|" * (len(columns) - 1), flush=True)


def _line(label: str, *cells: str) -> None:
    print("| " + " | ".join((label, *cells)) + " |", flush=True)


def _rates(found: Shares, counts: Mapping[str, int], names: tuple[str, ...]) -> list[str]:
    return [f"{100 * counts[name] / found.repeats:.1f}" for name in names]


def _fewer(case: Case, repeats: int) -> int:
    """Repetitions of a case: those of many contenders take long."""
    return repeats if case.planned.get("contenders", 2) < 12 else max(repeats * 3 // 10, 1)


def _chosen(cases: Sequence[Case], only: str) -> list[Case]:
    return [case for case in cases if only in case.label]


def methods(repeats: int, only: str) -> None:
    """Prints how often sentences are wrong about methods that are equal."""
    _head("wrong about methods, %", *SENTENCES)
    for case in _chosen(SIZES, only):
        found = block_shares(case.world, case.of(10), repeats=_fewer(case, repeats), seed=case.seed, **case.planned)
        _line(case.label, *_rates(found, found.wrong, SENTENCES))


def settings(repeats: int, only: str) -> None:
    """Prints how often sentences contradict the truth about the settings that one study found."""
    _head("wrong about settings, %", *SENTENCES)
    for case in _chosen(SIZES, only):
        if case.world.shuffled:
            continue  # within one study names have their places
        budget = case._replace(budget=_single(case.budget)).of(1)
        found = block_shares(case.world, budget, repeats=_fewer(case, repeats), seed=case.seed, **case.planned)
        _line(case.label, *_rates(found, found.wrong, SENTENCES))


def _single(budget: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in budget.items() if name != "studies"}


def whole(repeats: int, only: str) -> None:
    """Prints the same of whole plays, trial by trial, beside those from blocks on."""
    _head("trial by trial, and from blocks on in brackets, wrong, %", "about", *OF_ONE)
    for case in _chosen(WHOLE, only):
        if case.budget.get("tuner", "halton") not in TUNERS:
            continue
        for studies, about in ((10, "methods"), (1, "settings")):
            budget = case._replace(budget=_single(case.budget) if studies == 1 else case.budget).of(studies)
            found = shares(case.world, budget, repeats=repeats, **case.planned)
            cells = _rates(found, found.wrong, OF_ONE)
            if budget.halving is None and budget.tuner == "halton":
                beside = block_shares(case.world, budget, repeats=5 * repeats, seed=case.seed, **case.planned)
                cells = [f"{a} ({b})" for a, b in zip(cells, _rates(beside, beside.wrong, OF_ONE), strict=True)]
            _line(case.label, about, *cells)


def power(repeats: int, only: str) -> None:
    """Prints how often sentences say what is there."""
    _head("right, %: 60 trials a contender", "winner", "worse", "faster", "flips", "wrong: winner")
    for case in _chosen(POWER, only):
        found = block_shares(case.world, case.of(10), repeats=_fewer(case, repeats), seed=case.seed, **case.planned)
        names = ("winner", "worse", "faster", "flips")
        _line(case.label, *_rates(found, found.right, names), *_rates(found, found.wrong, ("winner",)))


def designs(repeats: int, only: str) -> None:
    """Prints the power of designs of at most 60 trials, by the sign-flip test of study means."""
    worlds = [
        (sd, dimensions, bowl)
        for sd, dimensions, bowl in ((1, 1, 0.3), (1, 3, 0.3), (2, 1, 0.3), (2, 3, 0.3), (2, 3, 1.0))
    ]
    _head("studies x (points + seeds)", *(f"{sd} sd, {d}-D, {bowl}" for sd, d, bowl in worlds))
    for studies, points, seeds in DESIGNS:
        label = f"{studies} x ({points} + {seeds})"
        if only not in label:
            continue
        budget = Budget(studies=studies, tuning_points=points, seeds=seeds)
        cells = [
            power_of_means(World(dimensions=d, curvature=bowl, advantage=sd), budget, repeats=4 * repeats)
            for sd, d, bowl in worlds
        ]
        _line(label, *(f"{100 * cell:.0f}" for cell in cells))


def settled(repeats: int, only: str) -> None:
    """Prints how often runs until settled are wrong, and what they take."""
    for studies, unit, most in ((10, "studies", 40), (1, "seeds", 100)):
        _head(f"by {unit}, at most {most}", "wrong: best, %", "wrong: worse, %", "right: best, %", f"mean {unit}")
        for case in _chosen(SETTLED, only):
            count = case.planned.get("contenders", 2)
            found = settlements(
                case.world, case.of(studies), most=most, contenders=count, repeats=repeats, seed=case.seed
            )
            shares_told = (f"{100 * share:.1f}" for share in found[:3])
            _line(case.label, *shares_told, f"{found.blocks:.0f}")


def flags(repeats: int, only: str) -> None:
    """Prints how often contenders are flagged where the space is right, and where it is not."""
    _head("flagged, % of contenders; space", "about", *FLAGS)
    for label, world in SPACES:
        if only not in label:
            continue
        for studies, about in ((10, "methods"), (1, "settings")):
            found = shares(world, Case(label, world).of(studies), repeats=max(repeats // 2, 1))
            _line(label, about, *(f"{100 * found.flags[name]:.0f}" for name in FLAGS))


def seconds(repeats: int, only: str) -> None:
    """Prints the time from outcomes to a verdict."""
    _head("contenders", "ms, from outcomes to the verdict (median)")
    for count in [count for count in (2, 6, 12) if only in str(count)]:
        world, took = World(dimensions=3, curvature=1.0), []
        plan = simulated_plan(world, Budget(), contenders=count)
        history = play(plan, training(world, plan, np.random.default_rng(0)))
        for _ in range(min(repeats, 15)):
            fresh = history.with_plan(plan)
            start = time.perf_counter()
            compare_on(fresh, plan.problems[0])
            took.append(time.perf_counter() - start)
        _line(str(count), f"{1000 * float(np.median(took)):.0f}")


TABLES: Mapping[str, tuple[Callable[[int, str], None], int]] = {
    "methods": (methods, 1000),
    "settings": (settings, 1000),
    "power": (power, 1000),
    "designs": (designs, 1000),
    "settled": (settled, 1000),
    "whole": (whole, 200),
    "flags": (flags, 200),
    "seconds": (seconds, 15),
}


def main() -> None:
    """Prints the tables that were asked for, or all."""
    parser = argparse.ArgumentParser(description="How often each sentence of a verdict is wrong or right.")
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], default=[])
    parser.add_argument("--repeats", type=int, default=None)
    parser.add_argument("--case", default="", help="only rows whose label has this text")
    asked = parser.parse_args()
    for name in asked.tables or TABLES:
        table, usual = TABLES[name]
        start = time.perf_counter()
        table(asked.repeats or usual, asked.case)
        print(f"\n{name}: {time.perf_counter() - start:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
