"""What decides the bits of a trial's numbers beside the trial itself: code, versions, flags, device, threads."""

import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from dlkit.bench.machine.environment import compiler_options, cpu_flags, cpu_model, threads
from dlkit.bench.machine.linear_algebra import UNKNOWN, blas_cores, blas_names, blas_threads
from dlkit.bench.machine.training_code import code_digest

__all__ = [
    "BIT_FIELDS",
    "SOFTWARE_FIELDS",
    "THREAD_FIELDS",
    "jax_settings",
    "program_identity",
    "program_of_workers",
    "software_of",
    "unlike_bits",
]

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
    "blas",
)
# On a CPU these count as software, too: dlkit asks for one thread wherever it trains, so that another number means
# numbers that no other process of dlkit's would give. On an accelerator they decide nothing that is trained there.
THREAD_FIELDS = ("threads", "blas_threads")
# Beside these, what decides the bits of a trial: where it differs, the same code may give other last bits.
BIT_FIELDS = ("cpu", "cpu_flags", "blas_core", *THREAD_FIELDS, "lanes")

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

    Threads are those that XLA and the libraries of linear algebra have now, by their own account.

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
        "blas": blas_names(),
        "cpu": cpu_model(),
        "cpu_flags": cpu_flags(),
        "blas_core": blas_cores(),
        "threads": str(threads()),
        "blas_threads": blas_threads(),
        "lanes": "none",
        "python": ".".join(map(str, sys.version_info[:3])),
        "system": platform.platform(),
    }


def program_of_workers() -> dict[str, str]:
    """Returns the identity of the programs of this machine's workers, whatever threads this process's XLA has."""
    return {**program_identity(), "threads": "1"}


def software_of(program: Mapping[str, str]) -> dict[str, str]:
    """Returns those fields of a program in which trials that stand in one comparison agree.

    A program that was stored before a field was there has nothing in it: what it was is not known, and is like no
    value that is.

    Args:
        program: as of `program_identity`.
    """
    fields = SOFTWARE_FIELDS + (THREAD_FIELDS if program.get("device") == "cpu" else ())
    return {name: program.get(name, "") for name in fields}


def unlike_bits(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Returns why two programs do not promise the same bits: field -> (then, now); empty where they do.

    What is not known promises nothing.

    Args:
        then: a program, as of `program_identity`.
        now: another one.
    """
    pairs = {name: (then.get(name, UNKNOWN), now.get(name, UNKNOWN)) for name in SOFTWARE_FIELDS + BIT_FIELDS}
    return {name: (one, other) for name, (one, other) in pairs.items() if one != other or UNKNOWN in one}
