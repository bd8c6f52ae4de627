"""The test session's configuration. What XLA reads from the environment must stand before jax is imported."""

import os
import zlib
from importlib import metadata

from dlkit.bench.machine.preparation import prepare_own_process, thread_variables

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
os.environ.update(thread_variables())  # as the command line and its workers: the same bits here and there

import hypothesis
import jax
import pytest

from tests import typechecker

typechecker.install()
prepare_own_process()  # what a plugin has loaded before this file is set at run time

jax.config.update("jax_numpy_rank_promotion", "raise")

# What a change must pass draws the same examples each time; `make test-slow` draws new ones, to find more.
hypothesis.settings.register_profile("dlkit", deadline=None, derandomize=not os.environ.get("NEW_EXAMPLES"))
hypothesis.settings.load_profile("dlkit")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is not of the part that ``PART=1/2`` names: tests fall into parts by their names."""
    part, _, parts = os.environ.get("PART", "1/1").partition("/")
    others = [item for item in items if zlib.crc32(item.nodeid.encode()) % int(parts) != int(part) - 1]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in set(others)]
