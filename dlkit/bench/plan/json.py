"""Plans, points and timings as JSON, and back: one codec for all that a run stores of them.

What is written is the canonical form that identities are made of. What is read is checked against the annotations of
the dataclasses: a field that is missing takes its default, so plans of older runs can be read.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, get_args, get_origin

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.hashing import canonical
from dlkit.bench.plan.space import Range
from dlkit.bench.plan.trials import Timing

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["from_data", "from_json", "to_data", "to_json"]

Kind = TypeVar("Kind")
Hook = Callable[[Any, Any], Any]

HALF = "\\ud"  # begins how JSON writes the half of a character
SHOWN = 40  # characters of a wrong value in a message
MISTAKES = 3  # told of one document; a damaged one may have hundreds


def to_json(value: Any) -> str:
    """Returns the canonical JSON text of a plan, a point or a timing.

    Args:
        value: a dataclass or named tuple of `plan`, or a part of one.

    Returns:
        Sorted keys, no spaces; for a plan, the text that `Plan.digest` is the hash of.
    """
    return canonical(to_data(value))


def from_json(kind: type[Kind], text: str) -> Kind:
    """Returns what `to_json` wrote.

    Args:
        kind: what the text holds: `Plan`, `Point`, `Timing`, or a part of one.
        text: the JSON text.

    Raises:
        UserError: for a text that is no JSON, and as `from_data`.
    """
    try:
        data = json.loads(text)
        if HALF in text.lower():  # half of a character: no text that can be written, or hashed
            canonical(data).encode()
    except (ValueError, RecursionError) as error:
        raise UserError(f"{kind.__name__}: expected JSON, but: {error}") from None
    return from_data(kind, data)


def to_data(value: Any) -> Any:
    """Returns a plan, a point or a timing as what JSON has: dictionaries, lists, strings and numbers."""
    return _converter().unstructure(value)


def from_data(kind: type[Kind], data: Any) -> Kind:
    """Returns what `to_data` gave, or JSON's parser.

    A sequence comes back as a list, and a tuple as a tuple, as the annotation of its field says. A whole number in a
    field of floats stays one: the text written again must be the same.

    Args:
        kind: what the data hold: `Plan`, `Point`, `Timing`, or a part of one.
        data: of dictionaries, lists, strings and numbers.

    Raises:
        UserError: naming the place in the document, what was expected there, and what was found.
    """
    from cattrs import BaseValidationError

    try:
        return _converter().structure(data, kind)
    except (ValueError, ArithmeticError, RecursionError, BaseValidationError) as error:
        mistakes = [f"{kind.__name__}{place}: {words}" for place, words in _mistakes(error)]
    more = f"; and {len(mistakes) - MISTAKES} more mistakes" if len(mistakes) > MISTAKES else ""
    raise UserError("; ".join(mistakes[:MISTAKES]) + more)


def _mistakes(error: Exception, place: str = "") -> Iterator[tuple[str, str]]:
    """Yields the place of each mistake, and what is wrong there."""
    from cattrs import AttributeValidationNote, BaseValidationError, ForbiddenExtraKeysError, IterableValidationNote

    if isinstance(error, BaseValidationError):
        for each in error.exceptions:
            step = ""
            for note in getattr(each, "__notes__", ()):  # the innermost note is the first one
                if isinstance(note, AttributeValidationNote | IterableValidationNote):
                    step = f".{note.name}" if isinstance(note, AttributeValidationNote) else f"[{note.index!r}]"
                    break
            yield from _mistakes(each, place + step)
    elif isinstance(error, KeyError):
        yield place, "it is missing"
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in dataclasses.fields(error.cl)]
        for name in sorted(error.extra_fields):
            yield place, f"unknown field '{name}'; {nearest(name, known)}"
    else:
        yield place, str(error)


@cache
def _converter() -> "Converter":
    """The codec. Its library takes a few hundredths of a second to import: only what reads or writes a run pays."""
    from cattrs import Converter
    from cattrs.cols import (
        homogenous_tuple_structure_factory,
        is_namedtuple,
        list_structure_factory,
        mapping_structure_factory,
    )

    converter = Converter()
    for kind, hook in (
        (str, _exactly("a text", str)),
        (bool, _exactly("true or false", bool)),
        (int, _exactly("a whole number", int)),
        (float, _number),
        (Range | float, _range_or_number),
        (int | Literal["full"] | None, _batch_size),
    ):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook_factory(_is_literal, _literal)
    for belongs, factory, expected in (
        (dataclasses.is_dataclass, _dataclass_from_data, dict),
        (_is(Mapping, dict), mapping_structure_factory, dict),
        (_is(Sequence, list), list_structure_factory, list),
        (_is_tuple_of_one_kind, homogenous_tuple_structure_factory, list),
        (is_namedtuple, _named_tuple_from_data, list),
        (_is_timing, _timing_from_data, dict),  # of several that fit, the last one counts
    ):
        converter.register_structure_hook_factory(belongs, _checked(factory, expected))
    converter.register_unstructure_hook_factory(_is_timing, _timing_to_data)
    return converter


def _is(*origins: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) in origins


def _is_tuple_of_one_kind(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def _is_timing(kind: Any) -> bool:
    return kind is Timing


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _refuse(expected: str, value: Any) -> NoReturn:
    shown = repr(value)
    raise ValueError(f"expected {expected}, got {shown if len(shown) <= SHOWN else shown[:SHOWN] + ' ...'}")


def _exactly(expected: str, *kinds: type) -> Hook:
    """Returns a hook that lets values of these types through, as they are; a boolean is no number."""

    def hook(value: Any, _: Any) -> Any:
        return value if type(value) in kinds else _refuse(expected, value)

    return hook


_number = _exactly("a number", int, float)


def _range_or_number(value: Any, _: Any) -> Any:
    if isinstance(value, dict):
        return _converter().structure(value, Range)
    return value if type(value) in (int, float) else _refuse("a range or a number", value)


def _batch_size(value: Any, _: Any) -> Any:
    if value is None or value == "full" or type(value) is int:
        return value
    _refuse("a whole number, 'full' or null", value)


def _literal(kind: Any, _: "Converter") -> Hook:
    options = get_args(kind)

    def hook(value: Any, _: Any) -> Any:
        return value if value in options else _refuse("one of " + ", ".join(map(repr, options)), value)

    return hook


def _checked(factory: Callable[..., Hook], expected: type) -> Callable[[Any, "Converter"], Hook]:
    """Returns a factory of hooks that look at the value's own type first: a text is no list of its letters."""
    kinds, words = ((dict,), "a table") if expected is dict else ((list, tuple), "a list")

    def checked(kind: Any, converter: "Converter") -> Hook:
        inner = factory(kind, converter)

        def hook(value: Any, kind: Any) -> Any:
            return inner(value, kind) if isinstance(value, kinds) else _refuse(words, value)

        return hook

    return checked


def _dataclass_from_data(kind: Any, converter: "Converter") -> Hook:
    from cattrs.gen import make_dict_structure_fn

    return make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)


def _named_tuple_from_data(kind: Any, converter: "Converter") -> Hook:
    from cattrs.cols import namedtuple_structure_factory

    inner = namedtuple_structure_factory(kind, converter)

    def hook(value: Any, kind: Any) -> Any:
        fields = kind._fields
        return inner(value, kind) if len(value) == len(fields) else _refuse(f"a list of {', '.join(fields)}", value)

    return hook


def _timing_from_data(kind: Any, converter: "Converter") -> Hook:
    from cattrs.gen import make_dict_structure_fn, override

    def seconds(value: Any, _: Any) -> float:
        return math.nan if value is None else _number(value, float)

    changed = override(struct_hook=seconds)
    return make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True, evaluation_seconds=changed)


def _timing_to_data(kind: Any, converter: "Converter") -> Callable[[Any], Any]:
    from cattrs.gen import make_dict_unstructure_fn, override

    def seconds(value: float) -> float | None:
        return None if math.isnan(value) else value  # JSON has no NaN

    return make_dict_unstructure_fn(kind, converter, evaluation_seconds=override(unstruct_hook=seconds))
