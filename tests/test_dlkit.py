"""The package itself: lazy modules, the version, the hint in an error."""

import importlib
import importlib.metadata

import pytest

import dlkit


def test_modules_are_imported_on_first_access() -> None:
    for name in set(dlkit.__all__) - {"__version__"}:
        assert getattr(dlkit, name) is importlib.import_module(f"dlkit.{name}")


def test_dir_lists_the_lazy_modules() -> None:
    assert set(dlkit.__all__) <= set(dir(dlkit))


def test_an_unknown_attribute_suggests_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"module 'dlkit' has no attribute 'loses'; did you mean 'losses'\?"):
        _ = dlkit.loses
    with pytest.raises(AttributeError, match=r"module 'dlkit' has no attribute 'xyz'; expected one of"):
        _ = dlkit.xyz


def test_a_name_that_is_nowhere_cannot_be_imported() -> None:
    with pytest.raises(ImportError):
        from dlkit import nothing  # noqa: F401


def test_the_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("dlkit-jax") == dlkit.__version__
