"""What some versions of JAX compute wrong: it is computed here, and compared with what is right."""

from collections.abc import Callable, Mapping
from functools import cache

from dlkit.bench.errors import UserError

__all__ = ["canaries", "require_right_sums"]


def canaries(*, repeats: int = 100) -> Mapping[str, bool]:
    """Computes what some versions of XLA get wrong, and says whether it is right here.

    Args:
        repeats: how often each is computed; wrong sums came in about half of the calls.

    Returns:
        Canary -> whether every repeat was right.
    """
    checks: Mapping[str, Callable[[], bool]] = {
        "sum of a broadcast array": _broadcast_sum(),
        "shift by concatenation, then reshape": _shift(),
    }
    return {name: all(check() for _ in range(repeats)) for name, check in checks.items()}


def _broadcast_sum() -> Callable[[], bool]:
    """Checks what jax 0.10.2 and 0.11 got wrong on CPU with more than one thread: off by up to 42 %."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    ones = jax.device_put(np.ones((1024, 1024), np.float32))  # without a program of its own
    total = jax.jit(lambda a: jnp.broadcast_to(a, (2, 1024, 1024)).sum())
    return lambda: float(total(ones)) == 2.0 * 1024 * 1024


def _shift() -> Callable[[], bool]:
    """Checks what dlkit uses instead of ``x.at[1:].set(x[:-1])``, which is reported to be wrong before a reshape."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    x = jax.device_put(np.arange(4096.0, dtype=np.float32))
    shifted = jax.jit(lambda a: jnp.concatenate([a[:1], a[:-1]]).reshape(64, 64))
    expected = np.concatenate([[0.0], np.arange(4095.0)]).reshape(64, 64)
    return lambda: bool((np.asarray(shifted(x)) == expected).all())


@cache
def require_right_sums() -> None:
    """Refuses to train with a JAX that fails a canary.

    Raises:
        UserError: naming the version, the canary and the versions that are right.
    """
    import jax

    wrong = [name for name, right in canaries(repeats=5).items() if not right]
    if wrong:
        raise UserError(
            f"jax {jax.__version__} computes wrong results on this machine ({', '.join(wrong)}); "
            "install jax 0.10.1 (Python 3.11) or 0.12.0.1 and newer (Python 3.12), and see `dlkit doctor`"
        )
