"""The test session's configuration. What XLA reads from the environment must stand before jax is imported."""

import os
from importlib import metadata

# Compilation is most of the session. With QUICK_COMPILATION programs are compiled unoptimized and, where jaxlib still
# has them, by the emitters it had before the present ones: in a third of the time. Not for tests that compare bits.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=1"
    if not os.environ.get("QUICK_COMPILATION")
    else "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    if metadata.version("jaxlib").startswith("0.10.")
    else "--xla_backend_optimization_level=0",
)
os.environ["NPROC"] = "1"  # as in dlkit's workers: the same bits here and there

import hypothesis
import jax

from tests import typechecker

typechecker.install()

jax.config.update("jax_numpy_rank_promotion", "raise")

# What a change must pass draws the same examples each time; `make test-slow` draws new ones, to find more.
hypothesis.settings.register_profile("dlkit", deadline=None, derandomize=not os.environ.get("NEW_EXAMPLES"))
hypothesis.settings.load_profile("dlkit")
