"""Which rule trains which parameters, as tables: a summary of each contender, and every leaf."""

from collections.abc import Sequence

from dlkit.bench.analysis import numbers
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.parameter_groups import ParameterGroup
from dlkit.bench.report.tables import Part, Table

__all__ = ["parameter_groups", "parameter_leaves"]

CAPTION = "Which rule trains which parameters"


def parameter_groups(summary: Summary, problem: str) -> Part:
    """Returns, for each contender and each of its rules, the share of a problem's parameters; no rows if unknown.

    Args:
        summary: the run.
        problem: its name.
    """
    rows = []
    for name, label, leaves in summary.parameter_groups():
        total = max(sum(each.size for each in leaves), 1)
        by_rule: dict[str, list[ParameterGroup]] = {}
        for each in leaves if name == problem else ():
            by_rule.setdefault(each.rule, []).append(each)
        for rule, own in sorted(by_rule.items(), key=lambda item: -_size(item[1])):
            roles = ", ".join(dict.fromkeys(each.role for each in own))
            rows.append([label, rule, f"{_size(own):,}", numbers.share(_size(own) / total), roles, _decayed(own)])
    header = ["optimizer", "rule", "parameters", "share", "roles", "decayed"]
    return Part("parameter groups", CAPTION, Table(header, rows), numbers=False)


def parameter_leaves(summary: Summary, problem: str) -> Table:
    """Returns every leaf of a problem's parameters with the rule of each contender; no rows if unknown.

    Leaves that only some contenders have, since their choices make another network, are shown for those.

    Args:
        summary: the run.
        problem: its name.
    """
    own = {label: leaves for name, label, leaves in summary.parameter_groups() if name == problem}
    every = dict.fromkeys((each.path, each.shape, each.role) for leaves in own.values() for each in leaves)
    rules = {
        label: {(each.path, each.shape, each.role): _rule(each) for each in leaves} for label, leaves in own.items()
    }
    rows = [
        [path, numbers.TIMES.join(map(str, shape)) or "1", role]
        + [rules[label].get((path, shape, role), numbers.NOTHING) for label in own]
        for path, shape, role in every
    ]
    return Table(["leaf", "shape", "role", *own], rows)


def _size(leaves: Sequence[ParameterGroup]) -> int:
    return sum(each.size for each in leaves)


def _rule(leaf: ParameterGroup) -> str:
    return leaf.rule + (", decayed" if leaf.decayed else "")


def _decayed(leaves: Sequence[ParameterGroup]) -> str:
    """Whether all of these are decayed, or which share."""
    known = [each for each in leaves if each.decayed is not None]
    if not known:
        return "not known"
    share = _size([each for each in known if each.decayed]) / max(_size(known), 1)
    return "yes" if share == 1 else "no" if not share else numbers.share(share)
