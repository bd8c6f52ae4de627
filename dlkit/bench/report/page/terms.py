"""Which words of a table's heading are explained where in "How to read this"."""

__all__ = ["term"]

# The beginning of a heading -> the explanation's name in `templates/reading.html`; the longest that fits counts.
TERMS = {
    "group": "groups",
    "test [": "values",
    "objective [": "values",
    "validation [": "validation",
    "difference": "difference",
    "p": "p",
    "adjusted p": "adjusted-p",
    "on new examples": "new-examples",
    "mean rank": "ranks",
    "diverged": "diverged",
    "hits": "hits",
    "missed": "hits",
    "cut off": "hits",
    "median [": "median-steps",
    "mean to budget": "mean-to-budget",
    "expected running time": "running-time",
    "ratio to best": "ratio",
    "ratio of": "ratio",
    "seconds per step": "seconds",
    "time to target": "seconds",
    "compiling": "compiling",
    "peak memory": "memory",
    "steps saved": "saved",
    "flags": "flags",
    "interaction": "factors",
    "pairs of contenders": "factors",
    "probability best": "probability-best",
    "Nemenyi": "ranks",
    "profile score": "profile",
    "targets reached": "targets-reached",
    "area": "targets-reached",
    "others there": "targets-reached",
    "tuned to": "tuned-to",
    "points trained": "tuned-to",
    "steps to": "targets",
    "gradients to": "targets",
    "examples to": "targets",
    "seconds to": "targets",
    "decayed": "parameters",
    "roles": "parameters",
}
WHOLE = {"p", "area", "group", "flags", "roles"}  # words that other headings begin with


def term(heading: str) -> str:
    """Returns the name of the explanation of a heading; empty where it needs none.

    Example:
        >>> term("adjusted p"), term("p"), term("points trained"), term("optimizer")
        ('adjusted-p', 'p', 'tuned-to', '')
    """
    fitting = [start for start in TERMS if heading == start or (start not in WHOLE and heading.startswith(start))]
    return TERMS[max(fitting, key=len)] if fitting else ""
