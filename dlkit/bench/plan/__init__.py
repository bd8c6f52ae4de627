"""An experiment as data: what is compared, what is run, and what came of it.

It holds no functions and needs no JAX. `json` writes a plan as JSON and reads it back.

- `metric`: what a metric means; `orientation`: its values as numbers where lower is better.
- `space`: ranges of hyperparameters and points in them.
- `policies`: what holds for every contender alike: tuning, targets, early stopping.
- `trials`: a trial, its stage and seed, its outcome, what its steps cost.
- `axes`: what budgets are counted in; `spending`: what trials spend of it.
- `card`: what was done to a user's data.
- `planned`: a problem and a contender; `plan`: the trials they make; `programs`: what the user's own functions compute.
- `protocol`: what runs must share to be compared, or to be parts of one study; `joining`: those parts as one plan;
  `side_by_side`: contenders of several plans in one.
- `shards`: a plan's tunings divided among several runs of it.
- `parameter_groups`: what a parameter does in its network, and what a contender does with it.
- `json`: all of this as JSON, and back.
"""

__all__ = [
    "axes",
    "card",
    "joining",
    "json",
    "metric",
    "orientation",
    "parameter_groups",
    "plan",
    "planned",
    "policies",
    "programs",
    "protocol",
    "shards",
    "side_by_side",
    "space",
    "spending",
    "trials",
]
