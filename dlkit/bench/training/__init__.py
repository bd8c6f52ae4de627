"""Training: a problem and a recipe become compiled executables, and these train trials.

- `recipe`: the optimizer, its schedule, the number of steps: what executables are compiled for.
- `transformation`: the optimizer as it is at a step.
- `data_order`: which examples each step sees; `streaming`: those that do not fit on the device.
- `step`: one step of training; `games`: one step of several players.
- `loop`: the compiled loop.
- `evaluation`: which parameters are evaluated on which examples; `probing`: what probes see.
- `divergence`: when losses have left for good; `stopping`: when a trial ends early.
- `segment`: the functions that are compiled; `program`: the executables; `executables`: how those are kept between
  processes; `trajectory`: trains trials with them;
  `curve`: what a trial asks for and returns.
- `host_loop`: calls them until a trial ends; `snapshots`: what a trial needs to go on after a kill.
- `lanes`: trials side by side; `lane_memory`: what one takes; `fast_products`: the convolutions and products of a
  user's functions, made fast on CPU.
- `stopwatch`: how long a step takes.
"""

__all__ = [
    "curve",
    "data_order",
    "divergence",
    "evaluation",
    "executables",
    "fast_products",
    "games",
    "host_loop",
    "lane_memory",
    "lanes",
    "loop",
    "probing",
    "program",
    "recipe",
    "segment",
    "snapshots",
    "step",
    "stopping",
    "stopwatch",
    "streaming",
    "trajectory",
    "transformation",
]
