"""From outcomes to numbers, and from numbers to sentences. Never imports JAX.

- `numbers`, `units`: how numbers are written, and times and sizes with their units.
- `along_curves`: steps to a target, the score at half of the budget.
- `contender_result`, `pairs`, `ranking`: a contender's own numbers, how two differ, how all of them stand.
- `starts`: what was wrong with trials before their first step.
- `new_examples`, `example_sentences`: whether that holds on other examples than these test examples; in words.
- `costs`: time and memory; `step_costs`: gradients and examples, and the order at equal cost;
  `pareto`: quality against cost.
- `factor_pairs`, `effects`, `effect_sentences`: contenders that differ in one factor; what its levels do, and in words.
- `factor_grid`, `rate_curves`, `rank_groups`, `surface_paths`: what figures of factors, learning rates, ranks and
  surfaces show.
- `foresight`: what a plan can tell and what it costs, before anything runs.
- `settling`: who gets more studies or seeds, and when that ends.
- `best_trial`: which final trial stands for a contender where one model is asked for.
- `findings`, `verdict`: notes and the conclusion, each with its numbers.
- `comparison`: all contenders on one problem; `across_problems`: over all problems, as `problem_results` gathers them.
- `claims`: what a comparison claims, as data.
- `tuning_curves`: how much tuning each contender takes.
- `several_runs`: contenders of several runs in one comparison.
- `summary`: everything a run says; `frames`: the same as data frames, with the rows of `frame_rows`.
- `answer`: who leads, in a line; `answer_rows`: on a problem; `headline`: on all of them.
"""

__all__ = [
    "across_problems",
    "along_curves",
    "answer",
    "answer_rows",
    "best_trial",
    "claims",
    "comparison",
    "contender_result",
    "costs",
    "effect_sentences",
    "effects",
    "example_sentences",
    "factor_grid",
    "factor_pairs",
    "findings",
    "foresight",
    "frame_rows",
    "frames",
    "headline",
    "new_examples",
    "numbers",
    "pairs",
    "pareto",
    "problem_results",
    "rank_groups",
    "ranking",
    "rate_curves",
    "settling",
    "several_runs",
    "starts",
    "step_costs",
    "summary",
    "surface_paths",
    "tuning_curves",
    "units",
    "verdict",
]
