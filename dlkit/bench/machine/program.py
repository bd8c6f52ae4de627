"""The program that makes a trial's numbers: code, versions, flags, device, threads; what fixes a trial's bits."""

import hashlib
import os
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from dlkit.bench.machine.environment import compiler_options, cpu_flags, threads

__all__ = ["SOFTWARE_FIELDS", "code_digest", "program_identity"]

# Trials of programs that differ in these are not mixed; the other fields describe the machine.
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
)


# What a trial's numbers are made by. Reports, statistics and the command line may change without invalidating trials.
TRAINING_CODE = (
    "*.py",
    "activations/*.py",
    "layers/**/*.py",
    "losses/*.py",
    "models/*.py",
    "regularizers/*.py",
    "bench/errors.py",
    "bench/data/*.py",
    "bench/optimizers/*.py",
    "bench/plan/metric.py",
    "bench/plan/policies.py",
    "bench/plan/space.py",
    "bench/plan/trials.py",
    "bench/probes/*.py",
    "bench/problems/**/*.py",
    "bench/training/*.py",
)


JAX_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
)


@cache
def code_digest() -> str:
    """Returns the SHA-256 of the source files that make a trial's numbers."""
    package = Path(__file__).parent.parent.parent
    digest = hashlib.sha256()
    for pattern in TRAINING_CODE:
        for path in sorted(package.glob(pattern)):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def program_identity() -> dict[str, str]:
    """Returns what, beside the trial itself, decides its bits: every field equal means the same bits.

    Returns:
        Field -> value; those in `SOFTWARE_FIELDS` first, then the machine's.
    """
    import jax

    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "optax", "flax", "numpy")}
    return {
        "code": code_digest(),
        **versions,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "jax_config": ", ".join(f"{name}={getattr(jax.config, name)}" for name in JAX_SETTINGS),
        "optimization": ", ".join(f"{name}={value}" for name, value in compiler_options().items()),
        "device": jax.devices()[0].device_kind,
        "cpu_flags": cpu_flags(),
        "threads": str(threads()),
        "lanes": "none",
        "python": ".".join(map(str, sys.version_info[:3])),
        "system": platform.platform(),
    }
