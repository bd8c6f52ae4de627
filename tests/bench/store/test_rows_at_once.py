"""Many rows at once are what each is alone: JSON by the standard library's reader, digests, and what is no trial."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.store.row_digests import digests_of, written
from dlkit.bench.store.sound_trials import require_sound_rows
from dlkit.bench.store.tables import TABLES
from dlkit.bench.store.trial_rows import parsed_objects

# --- JSON ------------------------------------------------------------------------------------------------------------

numbers = st.sampled_from([0, -3, 2**70, 0.1, -1e300, 5e-324])
names = st.sampled_from(["", "a", "b", "ä", "{", "}", '"', "\n", "},\n{", "\\"])
plain = st.dictionaries(names, numbers, max_size=3)
anything = plain | st.dictionaries(names, plain | st.lists(numbers, max_size=2), max_size=2)
texts = st.builds(lambda value, escaped: json.dumps(value, ensure_ascii=escaped), anything, st.booleans())


@given(st.lists(texts, max_size=6) | st.lists(plain.map(json.dumps), max_size=6))
def test_objects_are_what_the_standard_library_makes_of_each(texts: list[str]) -> None:
    assert parsed_objects(texts) == [json.loads(text) for text in texts]


@pytest.mark.parametrize(
    "texts",
    [
        ['{"x', '":1}'],
        ['{"x":1', '"y":2}', "{},\n{}"],
        ["{},\n{}", ""],
        ['{"a":1},\n{"b":2}', "{}"],
        ['{"a":1},{"b":2}'],
        ["{}", "{},\n{},\n1", ""],
        ['{"x":[1', "2]}"],
        ["{}}", "{{}"],
        ["{} ", " {}"],
        ["{}", '{"a":}'],
        ["{}", "{'a':1}"],
    ],
)
def test_what_is_no_json_by_itself_is_none_among_others(texts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"expected|Expecting|Unterminated"):
        parsed_objects(texts)


# --- digests ---------------------------------------------------------------------------------------------------------

values = st.sampled_from([None, "", "ä", "a" * 300, b"", b"\0a", 0.1, -0.0, 0, -1, 2**31, -(2**63), 2**63 - 1])


@given(st.lists(st.lists(values, max_size=5).map(tuple), max_size=5))
def test_the_digest_of_each_row_is_of_what_was_written(rows: list[tuple[Any, ...]]) -> None:
    expected = [hashlib.sha256(b"trial\0" + written(row)).digest() for row in rows]
    assert digests_of(TABLES["trial"], rows) == expected


# --- what is no trial ------------------------------------------------------------------------------------------------

SOUND: dict[str, Any] = {"count": [0, None, 3], "status": ["finished"] * 3, "numbers": [{"x": 1.0}, {}, {"x": 2}]}


@pytest.mark.parametrize(
    ("part", "value", "what"),
    [
        ("count", -1, "counts"),
        ("count", 2**62, "counts"),
        ("status", "done", "status"),
        ("numbers", {"x": "1"}, "numbers"),
        ("numbers", {"x": True}, "numbers"),
        ("numbers", {"x": None}, "numbers"),
        ("numbers", [1.0], "numbers"),
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_one_that_cannot_be_right_is_named(part: str, value: Any, what: str, place: int) -> None:
    changed = [*SOUND[part]]
    changed[place] = value
    found = {**SOUND, part: changed}
    with pytest.raises(ValueError, match=f"trial 't{place}': its {what} cannot be right"):
        require_sound_rows(["t0", "t1", "t2"], [found["count"]], found["status"], [found["numbers"], [{}] * 3])


def test_sound_ones_pass() -> None:
    require_sound_rows(["t0", "t1", "t2"], [SOUND["count"]], SOUND["status"], [SOUND["numbers"]])
    require_sound_rows([], [[]], [], [[]])
