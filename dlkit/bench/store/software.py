"""What may stand in one comparison: trials of one software, on one kind of device; and how to say what differs."""

from collections.abc import Mapping
from typing import NamedTuple

from dlkit.bench.identity.hashing import digest
from dlkit.bench.machine.program import software_of

__all__ = ["Apart", "differences", "software_digest"]

NAMES = {
    "code": "dlkit's training code",
    "xla_flags": "XLA_FLAGS",
    "device": "kind of device",
    "blas": "linear algebra by",
    "threads": "XLA's threads",
    "blas_threads": "threads of linear algebra",
}
SEVERAL = ("jax_config", "optimization")  # fields of several settings: "name=value, name=value"


class Apart(NamedTuple):
    """Trials that are kept in a run folder and not found, as they are not of the current software, or were set aside.

    Attributes:
        trials: their ids.
        program: what made one of them.
        set_aside: whether they were set aside.
    """

    trials: frozenset[str]
    program: Mapping[str, str]
    set_aside: bool


def software_digest(program: Mapping[str, str]) -> str:
    """Returns the hash of the fields in which programs must agree for their trials to be compared."""
    return digest(software_of(program))


def differences(then: Mapping[str, str], now: Mapping[str, str], *, there: str = "then", here: str = "now") -> str:
    """Returns in words which of those fields differ, and how.

    Args:
        then: a program.
        now: another one.
        there: what to call the first one's values.
        here: and the second one's.

    Example:
        >>> from dlkit.bench.machine.program import SOFTWARE_FIELDS
        >>> fields = dict.fromkeys(SOFTWARE_FIELDS, "1")
        >>> differences({**fields, "jax_config": "x64=False, prng=rbg"}, {**fields, "jax_config": "x64=True, prng=rbg"})
        'x64 False then, True now'
        >>> differences(fields, {**fields, "code": "2", "jax": "0.12.0"}, there="there", here="here")
        "another dlkit's training code, jax 1 there, 0.12.0 here"
    """
    words = []
    first, second = software_of(then), software_of(now)
    for field, before in first.items():
        after = second.get(field, before)  # threads count on one kind of device, and not on another
        if before == after:
            continue
        if field == "code":
            words.append("another dlkit's training code")
        elif field in SEVERAL and (one := _settings(before)) and (other := _settings(after)):
            words += [
                f"{name} {one.get(name, 'unset')} {there}, {other.get(name, 'unset')} {here}"
                for name in one | other
                if one.get(name) != other.get(name)
            ]
        else:
            words.append(f"{NAMES.get(field, field)} {_said(field, then)} {there}, {_said(field, now)} {here}")
    return ", ".join(words)


def _said(field: str, program: Mapping[str, str]) -> str:
    return (program[field] or "unset") if field in program else "unknown"


def _settings(text: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in text.split(", ")) if "=" in text else {}
