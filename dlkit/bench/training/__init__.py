"""One compile group: a problem and a recipe become executables, these become trajectories.

- `recipe`: what trains a problem, and for how long.
- `transformation`: the optimizer as it is at a step.
- `data_order`: which examples each step sees; `streaming`: those that do not fit on the device.
- `step`, `games`: one step; of one loss, of several players.
- `loop`: the compiled loop.
- `segment`: what an executable does; `program`: the executables; `trajectory`: calls them, collects what they return.
- `lanes`: trials side by side; `fast_convolutions`: convolutions as products, on CPU.
- `stopwatch`: seconds per step.
"""

__all__ = [
    "data_order",
    "fast_convolutions",
    "games",
    "lanes",
    "loop",
    "program",
    "recipe",
    "segment",
    "step",
    "stopwatch",
    "streaming",
    "trajectory",
    "transformation",
]
