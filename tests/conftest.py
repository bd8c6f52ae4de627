"""The test session's configuration. What XLA reads from the environment must stand before jax is imported."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
os.environ["NPROC"] = "1"  # as in dlkit's workers: the same bits here and there

import hypothesis
import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile("dlkit", deadline=None)
hypothesis.settings.load_profile("dlkit")
