"""What a user asks, checked, and bound to functions.

- `budget`: what every contender gets.
- `entries`: experiment, contenders, problems, factors.
- `given`: what people give as an optimizer or a problem; `kinds`: lists and settings of another kind than is wanted;
  `words`: where a misplaced setting stands; `labels`: how contenders are called.
- `toml`: the same from a file, whose text `plain_toml` reads; `overrides`: with some keys replaced, `changes`: with
  some settings changed, as on the command line.
- `planner`: entries become a plan; `fitting`: whether contenders fit the problems; `probing`: whether probes do;
  `plausible`: what nobody can mean.
- `points`: what contenders try; `allowances`: how many steps spend the same.
- `bound_plan`: a plan with the functions that carry it out.
- `parameter_groups`: which rule of a contender trains which parameters.
- `programs`: what the user's own functions compute; `tracing`: how it is found out.
"""

__all__ = [
    "allowances",
    "bound_plan",
    "budget",
    "changes",
    "entries",
    "fitting",
    "given",
    "kinds",
    "labels",
    "overrides",
    "parameter_groups",
    "plain_toml",
    "planner",
    "plausible",
    "points",
    "probing",
    "programs",
    "toml",
    "tracing",
    "words",
]
