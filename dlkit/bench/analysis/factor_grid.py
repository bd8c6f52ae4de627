"""The optimizer against another factor: final values in a grid, and who is not told apart from the best."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from dlkit.bench.analysis.comparison import Comparison
from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.factor_pairs import levels_of
from dlkit.bench.plan.planned import PlannedContender

__all__ = ["OPTIMIZER", "FactorGrid", "GridCell", "factor_grids"]

OPTIMIZER = "optimizer"
Mark = Literal["best", "not told apart", "worse", "not compared"]


class GridCell(NamedTuple):
    """A contender in a grid.

    Attributes:
        result: the contender's; its value is `ContenderResult.final`.
        mark: how it stands to the best contender of the problem, in or out of this grid.
    """

    result: ContenderResult
    mark: Mark


class FactorGrid(NamedTuple):
    """The optimizer against another factor.

    Attributes:
        factor: the other one.
        rows: the optimizer's levels, in the plan's order.
        columns: the other factor's.
        rest: factor -> level of the remaining factors, the same in all cells; empty where there are none.
        cells: [rows][columns] None where no contender has the two levels.
    """

    factor: str
    rows: Sequence[str]
    columns: Sequence[str]
    rest: Mapping[str, str]
    cells: Sequence[Sequence[GridCell | None]]


def factor_grids(comparison: Comparison, contenders: Sequence[PlannedContender]) -> list[FactorGrid]:
    """Returns the grids of a problem: one for each other factor, and each setting of the remaining ones.

    Args:
        comparison: of all contenders on one problem.
        contenders: of the plan, on this problem, in order.

    Returns:
        Grids of two levels or more each way; none where contenders differ by name alone.
    """
    levels = {each.label: levels_of(comparison.problem, each, contenders) for each in contenders}
    names = [name for name in next(iter(levels.values()), {}) if len({each[name] for each in levels.values()}) > 1]
    if OPTIMIZER not in names:
        return []
    grids = []
    for factor in names:
        if factor == OPTIMIZER:
            continue
        others = [name for name in names if name not in (OPTIMIZER, factor)]
        rests = dict.fromkeys(tuple(each[name] for name in others) for each in levels.values())
        for rest in rests:
            own = {label: each for label, each in levels.items() if tuple(each[name] for name in others) == rest}
            grids.append(_grid(comparison, own, factor, dict(zip(others, rest, strict=True))))
    return [each for each in grids if len(each.rows) > 1 and len(each.columns) > 1]


def _grid(
    comparison: Comparison, levels: Mapping[str, Mapping[str, str]], factor: str, rest: Mapping[str, str]
) -> FactorGrid:
    results = {each.label: each for each in comparison.results}
    at = {(each[OPTIMIZER], each[factor]): label for label, each in levels.items() if label in results}
    rows, columns = (list(dict.fromkeys(each[name] for each in levels.values())) for name in (OPTIMIZER, factor))
    cells = [
        [
            GridCell(results[at[row, column]], _mark(comparison, at[row, column])) if (row, column) in at else None
            for column in columns
        ]
        for row in rows
    ]
    return FactorGrid(factor, rows, columns, rest, cells)


def _mark(comparison: Comparison, label: str) -> Mark:
    standing = comparison.ranking.standings.get(label)
    if standing is None:
        return "not compared"
    if standing.to_best is None:
        return "best"
    return "worse" if standing.is_worse else "not told apart"
