"""What a user asks, checked, and bound to functions.

- `budget`: what every contender gets.
- `entries`: experiment, contenders, problems, factors.
- `toml`: the same from a file.
- `planner`: entries become a plan.
- `bound_plan`: a plan with the functions that carry it out.
"""

__all__ = ["bound_plan", "budget", "entries", "planner", "toml"]
