"""What to try next, from a plan and the outcomes so far.

- `history`: a plan with its outcomes and drawn points, which the others start from.
- `sampling`: where points come from: halton, random, grid, optuna, zoom.
- `scrambled_halton`: the coordinates of halton's points.
- `objective`: how good a tuning trial is.
- `search`: points, rungs of successive halving, the best points on fresh seeds.
- `winner`: the best point of a study.
- `doubts`: reasons to doubt a contender's tuning, from all its studies.
- `widening`: wider spaces where a winner lies at an edge.
- `targets`: values that trials should reach, and how each came out.
"""

__all__ = ["doubts", "history", "objective", "sampling", "scrambled_halton", "search", "targets", "widening", "winner"]
