"""What is shown of an error that a user's function raised: plain words, its line, its own frames."""

import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench.identity.own_errors import in_words, own_traceback, raised, with_own_frames


def innermost(values):
    return {"a": values}["missing"]


def branching(x):
    if x > 0:
        return x
    return -x


def error_of(function, *arguments):
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return caught.value


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (branching, ("TracerBoolConversionError", "jnp.where")),
        (lambda x: np.square(x), ("TracerArrayConversionError", "jax.numpy")),
        (lambda x: x.item(), ("ConcretizationTypeError", "keep it an array")),
        (lambda x: [1, 2][x.astype(int)], ("TracerIntegerConversionError", "jnp.take")),
        (lambda x: jnp.arange(3)[jnp.arange(3) > x], ("NonConcreteBooleanIndexError", "jnp.where")),
    ],
)
def test_what_jax_refuses_is_told_in_a_line_with_what_to_do(function, words) -> None:
    text = raised(error_of(jax.jit(function), jnp.ones(())))
    assert all(word in text for word in words) and "\n" not in text
    assert "test_own_errors.py:" in text and "docs.jax.dev" not in text


def test_the_line_is_the_innermost_of_the_users_own() -> None:
    text = raised(error_of(jax.jit(lambda x: innermost(x)), 1.0))
    line = innermost.__code__.co_firstlineno + 1
    place = f"test_own_errors.py:{line}"
    assert text.startswith("KeyError: 'missing' (") and text.endswith(f'{place}: return {{"a": values}}["missing"])')


def test_a_traceback_has_no_frames_of_packages() -> None:
    error = error_of(jax.jit(lambda x: innermost(x)), 1.0)
    whole = "".join(traceback.format_exception(error))
    shown = own_traceback(error)
    assert "JAX" in whole and "JAX" not in shown and "site-packages" not in shown
    assert shown.splitlines()[-1] == "KeyError: 'missing'" and "in innermost" in shown and "in error_of" in shown


def test_what_caused_an_error_is_told_too() -> None:
    def outer(x):
        try:
            innermost(x)
        except KeyError as error:
            raise ValueError("no good") from error

    shown = own_traceback(error_of(jax.jit(outer), 1.0))
    assert shown.index("KeyError: 'missing'") < shown.index("direct cause") < shown.index("ValueError: no good")


def test_an_error_of_packages_alone_is_told_in_full() -> None:
    error = ValueError("never raised")
    assert own_traceback(error) == "".join(traceback.format_exception(error))


def test_a_chained_error_shows_the_users_frames() -> None:
    error = error_of(jax.jit(lambda x: innermost(x)), 1.0)
    files = [frame.filename for frame in traceback.extract_tb(with_own_frames(error).__traceback__)]
    assert files and all(file == __file__ for file in files)


def test_an_error_without_words() -> None:
    assert in_words(RuntimeError()) == "RuntimeError" and in_words(RuntimeError("a\n  b")) == "RuntimeError: a b"
