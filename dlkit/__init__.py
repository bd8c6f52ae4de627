"""Pure JAX primitives for deep learning, and a bench that says which choice trains better.

`import dlkit` costs nothing: the primitive modules (and JAX with them) are imported when first used, so a command
line's `--help` stays fast. The bench is a package of its own, `dlkit.bench`, which this module never imports.

Example:
    >>> import dlkit
    >>> dlkit.activations.get("relu").__name__
    'relu'
"""

from typing import TYPE_CHECKING

from dlkit.distribution import warn_of_another

if TYPE_CHECKING:
    from types import ModuleType

    from dlkit import activations, early_stopping, gan_losses, layers, losses, models, regularizers

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "activations",
    "early_stopping",
    "gan_losses",
    "layers",
    "losses",
    "models",
    "regularizers",
]

_BEHIND_THE_WALL = frozenset(
    {"compare", "data", "datasets", "optimizers", "problems", "probes", "run", "stats", "train"}
)

warn_of_another()


def __getattr__(name: str) -> "ModuleType":
    """Import a primitive module on first access (PEP 562)."""
    # "bench" has to end in AttributeError: that is what makes `from dlkit import bench` import it as a submodule.
    if name in __all__:
        import importlib

        return importlib.import_module(f"{__name__}.{name}")

    from dlkit.hints import nearest

    if name in _BEHIND_THE_WALL:
        raise AttributeError(f"module 'dlkit' has no attribute '{name}'; it is of the bench: from dlkit import bench")
    raise AttributeError(f"module 'dlkit' has no attribute '{name}'; {nearest(name, (*__all__, 'bench'))}")


def __dir__() -> list[str]:
    """List the lazy modules too."""
    return sorted({*globals(), *__all__})
