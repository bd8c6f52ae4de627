"""Settings of a spec file that the command line replaces, key by key: ``budget.evaluations=10``."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.policies import EarlyStopping, Settling, TargetRule
from dlkit.bench.spec.budget import AMOUNTS, Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice

__all__ = ["marked", "overridden"]

# Tables whose keys are known; below the others (choices, space, factors, ...) any name may stand.
TABLES: Mapping[str, type] = {
    "": Experiment,
    "budget": Budget,
    "early_stopping": EarlyStopping,
    "optimizers.N": Contender,
    "optimizers.N.early_stopping": EarlyStopping,
    "problems.N": ProblemChoice,
    "settling": Settling,
    "targets": TargetRule,
}
ENTRIES = {"problems": "problem", "optimizers": "optimizer"}  # lists whose items may be a name instead of a table
BARE = re.compile(r"[A-Za-z_][\w.+:/-]*")  # a text that needs no quotes
EXAMPLE = "--set budget.evaluations=10"


def overridden(table: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Returns a spec file's table with some of its values replaced.

    Args:
        table: as TOML's parser gives it; it stays what it is.
        settings: ``KEY=VALUE``, in this order. A key's parts are separated by dots, an item of a list is a number from
            0: ``problems.0.steps=100``. A value is one of TOML; a text that is one word needs no quotes.

    Returns:
        The table.

    Raises:
        UserError: for what has no value, a value that TOML does not know, and a key that there is not: with every
            mistake.
    """
    changed: dict[str, Any] = _copied(table)
    mistakes = []
    for setting in settings:
        try:
            key, value = _parsed(setting)
            _put(changed, key, value)
        except UserError as error:
            mistakes += [f"--set {setting}: {line}" for line in str(error).splitlines()]
    if mistakes:
        raise UserError("\n".join(mistakes))
    return changed


def marked(message: str, settings: Sequence[str]) -> str:
    """Returns what is wrong with a spec, and of which lines it is said because of a setting that was replaced.

    Args:
        message: a mistake a line.
        settings: as of `overridden`.
    """
    names = {}
    for setting in settings:
        key = setting.partition("=")[0].strip()
        names[re.sub(r"\.(\d+)", r"[\1]", re.sub(r"\[(\d+)\]", r".\1", key))] = setting
    lines = []
    for line in message.splitlines():
        told = line.partition("; did you mean")[0]
        given = [setting for name, setting in names.items() if re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", told)]
        lines.append(f"{line} (--set {given[-1]})" if given else line)
    return "\n".join(lines)


def _copied(value: Any) -> Any:
    """A deep copy of tables and lists."""
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _parsed(setting: str) -> tuple[list[str], Any]:
    """The parts of a key, and its value."""
    name, has_value, text = setting.partition("=")
    parts = re.sub(r"\[(\d+)\]", r".\1", name.strip()).split(".")
    if not has_value or not all(parts):
        raise UserError(f"expected KEY=VALUE, such as {EXAMPLE}")
    try:
        return parts, tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError, KeyError):
        if BARE.fullmatch(text.strip()):
            return parts, text.strip()
        quoted = (
            "" if text.strip()[:1] in ("[", "{", '"', "'") else "; a text with blanks needs quotes: 'KEY=\"a text\"'"
        )
        raise UserError(f"{text.strip() or 'nothing'} is no value of TOML{quoted}") from None


def _put(table: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    """Sets the value of a key; tables that are not there yet are made."""
    here: Any = table
    path = ""  # with N for a place in a list
    for depth, part in enumerate(parts):
        shown, is_last = ".".join(parts[:depth]), depth == len(parts) - 1
        if isinstance(here, list):
            index = _index(here, part, shown)
            if is_last:
                here[index] = value
                return
            here[index] = _as_table(here[index], shown, part)
            here, path = here[index], f"{path}.N"
            continue
        if not isinstance(here, dict):
            raise UserError(f"{shown} is {here!r}, and has no key '{part}'")
        known = [each.name for each in fields(TABLES[path])] if path in TABLES else [part]
        if part not in known:
            hint = nearest(part, known)
            before = f"{shown}." if shown else ""
            raise UserError(f"unknown key '{before}{part}'; {hint.replace(_MEANT, f'{_MEANT}{before}')}")
        if is_last:
            if shown == "budget" and part in AMOUNTS:  # of which a budget has one
                for other in AMOUNTS:
                    here.pop(other, None)
            here[part] = value
            return
        if part in ENTRIES and part not in here:
            raise UserError(f"the spec has no {part}")
        here, path = here.setdefault(part, {}), f"{path}.{part}" if path else part


_MEANT = "did you mean '"


def _index(items: Sequence[Any], part: str, shown: str) -> int:
    if not part.isdigit():
        raise UserError(f"{shown} is a list: give the place of an item, from 0 to {len(items) - 1}, got '{part}'")
    if int(part) >= len(items):
        raise UserError(f"no {shown}.{part}: items are counted from 0, and the last one is {shown}.{len(items) - 1}")
    return int(part)


def _as_table(item: Any, shown: str, part: str) -> Any:
    """An item of a list as a table: a name alone says which problem or optimizer it is."""
    if isinstance(item, str) and shown in ENTRIES:
        return {ENTRIES[shown]: item}
    if not isinstance(item, dict | list):
        raise UserError(f"{shown}.{part} is {item!r}, and has no keys")
    return item
