"""What can be known of an experiment before its first trial, as a page of ticks.

- `ticks`: a tick, and the page.
- `values`: losses, gradients and metrics of one's own problem, at its start and after some steps.
- `starts`: whether seeds begin at different parameters.
- `pairs`: whether losses and metrics depend on which target belongs to which example.
- `datasets`: classes, constants and scales in one's own data.
- `purity`: whether one's own functions compute the same whenever they are traced.
- `noted_calls`: clocks, generators and keys that they call meanwhile.
- `updates`: where one's own optimizers move the parameters, and what their hyperparameters change.
- `longest`: how long a step takes at most.
- `kept_times`: step times of the catalogue's problems, kept for a day.
- `costs`: how long a run takes, and how much memory.
- `examine`: all of it, of a plan.
"""

__all__ = [
    "costs",
    "datasets",
    "examine",
    "kept_times",
    "longest",
    "noted_calls",
    "opening",
    "pairs",
    "purity",
    "starts",
    "ticks",
    "updates",
    "values",
]
