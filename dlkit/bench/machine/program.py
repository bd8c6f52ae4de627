"""What decides the bits of a trial's numbers beside the trial itself: code, versions, flags, device, threads."""

import os
import platform
import sys
from functools import cache
from importlib import metadata
from typing import Any

from dlkit.bench.machine.environment import compiler_options, cpu_flags, threads
from dlkit.bench.machine.training_code import code_digest

__all__ = ["BIT_FIELDS", "SOFTWARE_FIELDS", "jax_settings", "program_identity"]

# Trials of programs that differ in these are not mixed; the other fields describe the machine.
# Two kinds of device are no more one experiment than two versions of JAX: their kernels round, and order sums, apart.
SOFTWARE_FIELDS = (
    "code",
    "jax",
    "jaxlib",
    "optax",
    "flax",
    "numpy",
    "xla_flags",
    "jax_config",
    "optimization",
    "device",
)
# Beside these, what decides the bits of a trial: where it differs, the same code may give other last bits.
BIT_FIELDS = ("cpu_flags", "threads", "lanes")

JAX_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
    "jax_random_seed_offset",
    "jax_high_dynamic_range_gumbel",
    "jax_softmax_custom_jvp",
)


def jax_settings() -> dict[str, Any]:
    """Returns those of JAX's settings, as they are now, that change what a program computes: name -> value."""
    import jax

    return {name: getattr(jax.config, name) for name in JAX_SETTINGS}


@cache
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("jax", "jaxlib", "optax", "flax", "numpy")}


def program_identity() -> dict[str, str]:
    """Returns what, beside the trial itself, decides its bits: every field equal means the same bits.

    Returns:
        Field -> value; those in `SOFTWARE_FIELDS` first, then the machine's.
    """
    import jax

    return {
        "code": code_digest(),
        **_versions(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "jax_config": ", ".join(f"{name}={value}" for name, value in jax_settings().items()),
        "optimization": ", ".join(f"{name}={value}" for name, value in compiler_options().items()),
        "device": jax.devices()[0].device_kind,
        "cpu_flags": cpu_flags(),
        "threads": str(threads()),
        "lanes": "none",
        "python": ".".join(map(str, sys.version_info[:3])),
        "system": platform.platform(),
    }
