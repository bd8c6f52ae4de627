"""What to try next, from a plan and the outcomes so far.

- `history`: a plan with the outcomes so far, which all the others start from.
- `sampling`: where points come from: halton, random, grid, optuna.
- `search`: points and rungs of successive halving.
- `winner`: what tuning found, and what makes it doubtful.
- `widening`: wider spaces where a winner lies at an edge.
- `targets`: what steps are counted to.
"""

__all__ = ["history", "sampling", "search", "targets", "widening", "winner"]
