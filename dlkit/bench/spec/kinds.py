"""What kind of thing each setting of an experiment is: lists, dictionaries, budgets, and how they are written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.policies import EarlyStopping, Settling, TargetRule
from dlkit.bench.plan.space import is_number
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.given import briefly

__all__ = ["KEEPS", "as_list", "entries_given", "is_list_of_names", "require_mapping", "wrong_kinds"]

Entry = TypeVar("Entry")
KEEPS = ("nothing", "best")  # of trained models
KINDS = {  # of an experiment's settings, and how each is written
    "budget": (Budget, "steps=1000"),
    "early_stopping": (EarlyStopping, "patience=5"),
    "targets": (TargetRule, "baselines=('sgd',)"),
    "settling": (Settling, ""),
}


def entries_given(name: str, given: Any, what: str, kind: type[Entry], mistakes: list[str]) -> tuple[Entry, ...]:
    """Makes an entry of each item of a list, which may hold names, objects, tables of settings, or entries.

    Args:
        name: of the list.
        given: the list.
        what: the setting that an item is if it is no table, such as ``"optimizer"``.
        kind: the entry.
        mistakes: are added to.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        mistakes.append(f"{name} must be a list{as_list(name, given)}")
        return ()
    entries = []
    for i, each in enumerate(given):
        settings = each if isinstance(each, Mapping) else {what: each}
        try:
            entries.append(each if isinstance(each, kind) else kind(**settings))
        except UserError as error:
            mistakes += [f"{name}[{i}]: {line}" for line in str(error).splitlines()]
    return tuple(entries)


def wrong_kinds(settings: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the kinds of an experiment's settings, each with how it is written."""
    mistakes = []
    for name, (kind, example) in KINDS.items():
        given = settings[name]
        if isinstance(given, kind) or (name != "budget" and given is None):
            continue
        own = ", ".join(f"{key}={value!r}" for key, value in given.items()) if isinstance(given, dict) else ""
        written = f"bench.{kind.__name__}({own or example})"
        number = f"; a problem's own is bench.ProblemChoice(problem=..., target={given!r})"
        hint = number if name == "targets" and is_number(given) else ""
        mistakes.append(f"{name} must be a bench.{kind.__name__}, such as {written}, got {briefly(given)}{hint}")
    mistakes += [
        f"{name} must be true or false, got {settings[name]!r}"
        for name in ("expand", "timing")
        if not isinstance(settings[name], bool)
    ]
    if settings["keep"] not in KEEPS:
        mistakes.append(f"keep: no choice {briefly(settings['keep'])}; {nearest(str(settings['keep']), KEEPS)}")
    if isinstance(settings["probes"], str) or not isinstance(settings["probes"], Sequence):
        mistakes.append(f"probes must be a list of names or probes{as_list('probes', settings['probes'])}")
    if not isinstance(settings["resources"], Mapping):
        example = "{'executor': 'inline'}"
        mistakes.append(f"resources must be a dictionary such as {example}, got {briefly(settings['resources'])}")
    if not isinstance(settings["factors"], Mapping):
        example = "{'schedule': ['constant', 'cosine']}"
        mistakes.append(f"factors must be a dictionary such as {example}, got {briefly(settings['factors'])}")
    return mistakes


def require_mapping(given: Any, name: str, owner: str, example: str) -> None:
    """Refuses what is no dictionary, with how one is written."""
    if not isinstance(given, Mapping):
        raise UserError(f"{owner}: {name} must be a dictionary such as {example}, got {briefly(given)}")


def as_list(name: str, given: Any) -> str:
    """How a message about what is no list ends."""
    if isinstance(given, Mapping):
        return f", got {briefly(given)}; write {name}=[{', '.join(map(repr, given))}]"
    if isinstance(given, set | frozenset):
        return f", which has an order, got {briefly(given)}; write {name}={sorted(given, key=str)}"
    if isinstance(given, Iterator):
        return f", got {briefly(given)}; write {name}=list(...)"
    shown = repr(given) if isinstance(given, str) else getattr(given, "__name__", "...")
    return f", got {briefly(given)}; write {name}=[{shown}]"


def is_list_of_names(given: Any) -> bool:
    """Whether something is a list of names, and of one at least."""
    return isinstance(given, list | tuple) and len(given) > 0 and all(isinstance(each, str) for each in given)
