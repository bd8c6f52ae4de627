"""An experiment as data: what is compared, what is run, and what came of it.

No functions of users, no JAX: everything here can be written as JSON and read back.

- `metric`: what a metric means; `orientation`: its values as numbers where lower is better.
- `space`: ranges of hyperparameters and points in them.
- `policies`: what holds for every contender alike: tuning, targets, early stopping.
- `trials`: a trial, its stage and seed, its outcome, what its steps cost.
- `plan`: problems, contenders and the trials they make.
"""

__all__ = ["metric", "orientation", "plan", "policies", "space", "trials"]
