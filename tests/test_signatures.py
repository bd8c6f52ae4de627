"""One word for one thing: the arguments of all public functions of the primitives."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import jax
import pytest

from dlkit import activations, gan_losses, layers, losses, models, regularizers

ROOMS: tuple[ModuleType, ...] = (activations, gan_losses, layers, losses, models, regularizers)

# What something is not called -> what it is called.
OTHER_WORDS = {
    **dict.fromkeys(("units", "channels", "filters", "width", "out_features", "out_channels"), "features"),
    **dict.fromkeys(("labels", "y_true", "target_values"), "targets"),
    **dict.fromkeys(("label_lengths", "labels_lengths"), "target_lengths"),
    **dict.fromkeys(("inputs", "input", "values_in"), "x"),
    **dict.fromkeys(("rng", "seed", "prng_key", "rngs"), "key"),
    **dict.fromkeys(("weight", "coefficient", "lambda_", "scale", "penalty_strength"), "strength"),
    **dict.fromkeys(("init_state", "initial_carry", "carry", "carried"), "initial_state"),
    **dict.fromkeys(("eps",), "epsilon"),
    **dict.fromkeys(("p", "drop_rate", "probability", "keep_prob"), "rate"),
    **dict.fromkeys(("stride",), "strides"),
    **dict.fromkeys(("training", "is_training", "deterministic"), "train"),
    **dict.fromkeys(("num_heads", "n_heads"), "heads"),
    **dict.fromkeys(("ndim", "rank", "spatial_axes"), "dimensions"),
    **dict.fromkeys(("dim", "dims", "feature_axes", "num_axes"), "axis, axes or dimensions"),
}
# An initializer has JAX's signature, (key, shape, dtype).
INITIALIZERS = {"layers.default_kernel_init"}
# What is counted from the end, with its default; a window or a size per axis is a sequence.
OPTIONAL_BY_POSITION = {("models.cnn", "stages"), ("models.resnet", "blocks")}


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for room in ROOMS:
        short = room.__name__.removeprefix("dlkit.")
        for name in room.__all__:
            value = getattr(room, name)
            if callable(value) and not isinstance(value, type) and getattr(value, "__module__", "").startswith("dlkit"):
                yield f"{short}.{name}", value


FUNCTIONS = {name: function for name, function in public() if name not in INITIALIZERS}
PENALTIES = sorted(
    name
    for name in FUNCTIONS
    if name.endswith("_penalty")
    or name.removeprefix("regularizers.") in regularizers.penalties.__all__
    or name.removeprefix("regularizers.") in regularizers.outputs.__all__
    or name.startswith("regularizers.proximal_")
)
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def parameters(name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(FUNCTIONS[name]).parameters.values())


def wrong_words(names: list[str]) -> list[str]:
    return [f"{name}: say {OTHER_WORDS[name]}" for name in names if name in OTHER_WORDS]


@every_function
def test_one_thing_has_one_name(name: str) -> None:
    assert not wrong_words([each.name for each in parameters(name)])


@every_function
def test_configuration_and_keys_go_by_name(name: str) -> None:
    for each in parameters(name):
        by_position = each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        optional = by_position and each.default is not each.empty and (name, each.name) not in OPTIONAL_BY_POSITION
        assert not optional, f"{each.name} has a default, and may be given by position"
        assert each.name != "key" or not by_position, "key may be given by position"


@every_function
def test_targets_stand_second(name: str) -> None:
    names = [each.name for each in parameters(name)]
    if "targets" in names and name != "regularizers.label_smoothing":  # whose only data they are
        assert names.index("targets") == 1


@pytest.mark.parametrize("name", PENALTIES)
def test_what_penalizes_has_a_strength(name: str) -> None:
    (strength,) = (each for each in parameters(name) if each.name == "strength")
    assert strength.kind is strength.KEYWORD_ONLY


@every_function
def test_axes_are_declared_in_one_way(name: str) -> None:
    # `axis` is an index, `axes` and `dimensions` are how many of the last ones, `..._axes` are indices.
    for each in parameters(name):
        text = str(each.annotation)
        if each.name in ("axes", "dimensions"):
            assert each.annotation is int, f"{each.name}: {text}"
        elif each.name.endswith("_axes"):
            assert "Sequence" in text and "int" in text, f"{each.name}: {text}"
        elif each.name == "axis":
            assert text.startswith(("<class 'int'>", "int")), f"{each.name}: {text}"


def test_the_rules_see_what_breaks_them() -> None:
    assert wrong_words(["units", "use_bias"]) == ["units: say features"]
    assert {"layers.conv", "layers.lstm", "losses.ctc", "models.resnet", "gan_losses.r1_penalty"} <= set(FUNCTIONS)
    assert {"regularizers.l2", "regularizers.proximal_l1", "regularizers.jacobian_penalty"} <= set(PENALTIES)


@pytest.mark.parametrize(
    ("make", "old", "new"),
    [
        (lambda **words: layers.lstm(**words), "units", "features"),
        (lambda **words: layers.conv(kernel_size=(3,), **words), "channels", "features"),
        (lambda **words: layers.dense(**words), "out_features", "features"),
    ],
)
def test_another_word_is_answered_with_the_right_one(make: Callable[..., Any], old: str, new: str) -> None:
    with pytest.raises(TypeError, match=rf"there is no argument '{old}'; did you mean '{new}'\?"):
        make(**{old: 4})
    assert make(**{new: 4}) == make(**{new: 4})


@pytest.mark.parametrize("strength", [0.0, 0.5, 3.0])
def test_a_strength_is_a_factor(strength: float) -> None:
    x, key = 1.0 + jax.random.uniform(jax.random.key(1), (3, 4)), jax.random.key(0)
    calls: list[Callable[..., jax.Array]] = [
        *(partial(getattr(regularizers, name), {"kernel": x}) for name in regularizers.penalties.__all__),
        *(partial(getattr(regularizers, name), x) for name in ("activity_l1", "activity_l2", "confidence_penalty")),
        partial(regularizers.jacobian_penalty, jax.numpy.sin, x, key=key),
        partial(gan_losses.gradient_penalty, lambda x: x.sum(-1) ** 2, x, 2 * x, key=key),
        partial(gan_losses.r1_penalty, lambda x: x.sum(-1) ** 2, x),
    ]
    for call in calls:
        expected = strength * call()
        assert jax.numpy.allclose(call(strength=strength), expected, rtol=1e-5)
        assert jax.numpy.allclose(jax.jit(lambda s, call=call: call(strength=s))(strength), expected, rtol=1e-5)
        with pytest.raises(ValueError, match="expected strength at least 0, got -1"):
            call(strength=-1.0)
