"""Output where letters are few: a terminal that knows ASCII alone shows all that is said, in other letters."""

import io

from dlkit.bench.cli.letters import readable_everywhere
from dlkit.bench.report.terminal import text_of
from tests.bench.synthetic import make_plan, make_summary


def written(text: str, encoding: str) -> str:
    stream = io.TextIOWrapper(buffer := io.BytesIO(), encoding=encoding, newline="")
    readable_everywhere(stream, object())
    stream.write(text)
    stream.flush()
    return buffer.getvalue().decode(encoding)


def test_what_ascii_lacks_is_written_otherwise() -> None:
    assert written("−0.5 [≤1e-3, ×2.0] ↓ – 95\N{NO-BREAK SPACE}%", "ascii") == "-0.5 [<=1e-3, x2.0] v - 95 %"
    assert written("ädam", "ascii") == "?dam"


def test_what_the_terminal_knows_stays() -> None:
    assert written("−0.5 ×2", "utf-8") == "−0.5 ×2"
    assert written("ädam ×2 −1", "latin-1") == "ädam ×2 -1"


def test_a_whole_answer_can_be_written_in_ascii() -> None:
    text = text_of(make_summary(make_plan(points=1, tuning_seeds=1, seeds=4)), tables=True)
    assert not text.isascii()
    shown = written(text, "ascii")
    assert shown.isascii() and "?" not in shown
