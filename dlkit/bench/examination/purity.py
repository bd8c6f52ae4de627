"""Whether one's own functions compute the same whenever they are traced, and what they say on the way."""

import contextlib
import dis
import io
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.examination.noted_calls import calls_noted, codes_of
from dlkit.bench.examination.ticks import Tick
from dlkit.bench.identity.local_code import is_local
from dlkit.bench.identity.own_errors import in_words, where_raised
from dlkit.bench.identity.places import place_of, place_of_caller, place_within, written
from dlkit.bench.identity.programs import forget_traces
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.factories import ProblemFactory
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.programs import Retraced, retraced

__all__ = ["purity_ticks"]

IMPURE = ("random", "numpy.random", "secrets", "time", "uuid", "datetime", "os")  # modules that answer anew each time
OF_OS = frozenset({"urandom", "getpid", "getrandom"})  # the others of os say nothing new, as a rule
_is_users = cache(is_local)
REMEDY = (
    "each contender would train another loss: draw with jax.random from the key that is given, and take what changes "
    "out of the function"
)


def purity_ticks(bound: BoundPlan) -> Iterator[Tick]:
    """Traces what is the user's own once more, and compares it with what was planned.

    Args:
        bound: a plan with its programs.

    Yields:
        A tick for each part that is the user's own.
    """
    forget_traces()
    yield from _made_twice(bound)
    impure = set[str]()
    heard = _Heard()
    losses = {code for problem in bound.plan.problems if problem.is_own for code in codes_of(bound, problem.name)}
    parts = retraced(bound)
    while True:
        calls = list[tuple[str, str]]()
        with heard.listening(), calls_noted(calls, losses):
            part = next(parts, None)
        if part is None:
            break
        if part.error is not None:
            yield _raised(part)
        elif part.is_same and calls:
            yield _constant(part, *calls[0])
        elif part.is_same:
            yield Tick("same program", f"{part.owner} computes the same when it is traced twice", True)
        elif part.group.problem.name not in impure:
            impure |= {part.group.problem.name} if part.name == "problem" else set()
            yield _impure(bound, part)
    yield from heard.ticks()


def _raised(part: Retraced) -> Tick:
    """What tracing raised; what dlkit says of it is complete."""
    assert part.error is not None
    if isinstance(part.error, UserError):
        text = str(part.error).removeprefix(f"{part.owner}: ")
        return Tick("same program", text, False, part.owner, where_raised(part.error))
    text = f"tracing it raised {in_words(part.error)}"
    return Tick("same program", text, False, part.owner, where_raised(part.error), "mend what raises there")


def _constant(part: Retraced, name: str, place: str) -> Tick:
    """A note on a call whose answer is a constant of the program, though it was the same twice."""
    text = f"it calls {name} while it is traced, and JAX keeps the answer as a constant, the same at every step"
    remedy = "draw with jax.random from the key that is given, and take the time outside; if it is meant, all is well"
    if name.startswith("jax.random."):
        text = f"its loss makes a key of its own with {name}: what is drawn from it is the same at every step"
        remedy = "draw from the key that the loss is given; if it is meant, all is well"
    return Tick("same program", text, None, part.owner, place, remedy)


def _impure(bound: BoundPlan, part: Retraced) -> Tick:
    """Whose fault it is that a part computes something else each time, as far as calls show it."""
    forget_traces()
    name, place = _impure_call(part.trace)
    text = "traced twice it gives another program each time"
    if name:
        text += f": {name} draws anew, and jax.jit keeps one of its answers as a constant"
    else:
        text += ": it depends on something that changes, such as a counter or a global"
        source = bound.problems[part.group.problem.name].load()
        place = place_within(source.loss if part.name == "problem" else part.group.recipe.optimizer.build)
    return Tick("same program", text, False, part.owner, place, REMEDY)


def _impure_call(trace: Callable[[], Any]) -> tuple[str, str]:
    """The first call, of the user's own code, of what answers anew each time: its name, and the place."""
    found = list[tuple[str, str]]()
    try:
        with _noticing(found):
            trace()
    except Exception:
        return "", ""
    return found[0] if found else ("", "")


@contextlib.contextmanager
def _noticing(found: list[tuple[str, str]]) -> Iterator[None]:
    """Notes the first call, of the user's own code, of what answers anew each time: its name, and the place.

    It looks at every call there is, which makes tracing several times as slow.
    """

    def notice(frame: types.FrameType, event: str, argument: Any) -> None:
        if found:
            return
        if event == "call" and _is_users(frame.f_code.co_filename):
            found.extend(_of_numpy(frame))
        if event == "c_call":
            name = _impure_name(argument)
            if name and _is_users(frame.f_code.co_filename):
                found.append((name, place_of_caller(frame)))
        elif event == "call" and not found and frame.f_back is not None and _is_users(frame.f_back.f_code.co_filename):
            module = str(frame.f_globals.get("__name__", ""))
            if module in IMPURE and module != "os":
                found.append((f"{module}.{frame.f_code.co_name}", place_of_caller(frame.f_back)))

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        yield
    finally:
        sys.setprofile(before)


def _of_numpy(frame: types.FrameType) -> list[tuple[str, str]]:
    """The first use of numpy.random in a function that is called: its methods are no calls that Python tells of."""
    code, known = frame.f_code, {**frame.f_globals, **frame.f_locals}
    line = code.co_firstlineno
    before: Any = None
    for instruction in dis.get_instructions(code):
        line = instruction.positions.lineno if instruction.positions and instruction.positions.lineno else line
        value = None
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST"):
            value = known.get(instruction.argval)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(before, types.ModuleType):
            value = getattr(before, instruction.argval, None)
        home = value.__name__ if isinstance(value, types.ModuleType) else type(value).__module__
        if str(home).startswith("numpy.random"):
            return [("numpy.random", written(code.co_filename, line))]
        before = value
    return []


def _impure_name(function: Any) -> str:
    """How a built-in function is called if it answers anew each time; empty for any other."""
    owner = getattr(function, "__self__", None)
    homes = [getattr(function, "__module__", None), getattr(owner, "__name__", None), type(owner).__module__]
    name = str(getattr(function, "__name__", ""))
    for home in map(str, homes):
        module = "numpy.random" if home.startswith("numpy.random") else home.lstrip("_")
        module = "os" if module in ("posix", "nt") else module
        if module in IMPURE and (module != "os" or name in OF_OS):
            return f"{module}.{name}"
    return ""


def _made_twice(bound: BoundPlan) -> Iterator[Tick]:
    """Whether functions that make problems make the same data each time."""
    for problem in bound.plan.problems:
        maker = bound.problems[problem.name].own
        if not isinstance(maker, ProblemFactory):
            continue
        again: Problem = ProblemFactory(maker.name, maker.function).make(**dict(problem.choices))
        if again.dataset.digest != problem.data:
            text = "the function that makes it makes other data each time it is called"
            remedy = "seed its random numbers: np.random.default_rng(0)"
            yield Tick("same data", text, False, f"problem '{problem.name}'", place_of(maker.function), remedy)


class _Heard:
    """Warnings and prints of the user's own code, with their places."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], None] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Notes what is said meanwhile."""
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(_Ear(self._said)):
            warnings.simplefilter("always")
            yield
        for each in caught:
            if is_local(each.filename):
                self._said[f"warns: {each.message}", written(each.filename, each.lineno)] = None

    def ticks(self) -> Iterator[Tick]:
        """Yields a note for each thing that was said."""
        for text, place in self._said:
            yield Tick("says", f"your code {text}", None, "", place)


class _Ear(io.StringIO):
    """A standard output that knows who writes to it."""

    def __init__(self, said: dict[tuple[str, str], None]) -> None:
        super().__init__()
        self._said = said

    def write(self, text: str) -> int:
        """Notes a text, and the user's line that wrote it."""
        if text.strip():
            self._said[f"prints while it is traced: {text.strip()[:80]}", place_of_caller(sys._getframe(1))] = None
        return len(text)
