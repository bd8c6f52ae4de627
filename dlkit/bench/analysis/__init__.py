"""What follows: outcomes become numbers, numbers become sentences. Never JAX.

- `numbers`: numbers as text, the same everywhere.
- `along_curves`: steps to a target, the score at half of the budget.
- `pairs`, `ranking`: how contenders differ and stand on a problem.
- `costs`, `effects`: time and memory; what the levels of factors do.
- `settling`: who gets more seeds, and when that ends.
- `findings`, `verdict`, `settled_sentences`: sentences, the conclusion, and what added seeds settled.
- `comparison`: all contenders on one problem; `across_problems`: over all problems.
- `tuning_curves`: how much tuning each contender takes.
- `summary`: everything a run says.
"""

__all__ = [
    "across_problems",
    "along_curves",
    "comparison",
    "costs",
    "effects",
    "findings",
    "numbers",
    "pairs",
    "ranking",
    "settled_sentences",
    "settling",
    "summary",
    "tuning_curves",
    "verdict",
]
