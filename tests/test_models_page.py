"""The models of the documentation, trained as they stand there."""

import os
import subprocess
import sys
from typing import Any

import pytest

from tests import guide

BLOCKS = guide.blocks("docs/models.md", "python")
LONGEST = 42  # lines of an example, beside the loop that all share


def trained(*places: int) -> dict[str, Any]:
    """The names that the loop and these examples leave."""
    names: dict[str, Any] = {}
    for place in (0, *places):
        exec(BLOCKS[place], names)
    return names


@pytest.mark.long
def test_stripes_are_told_apart_by_convolutions_and_by_patches() -> None:
    names = trained(1, 3)
    assert names["accuracy"] >= 0.9 and names["seen"] >= 0.9


@pytest.mark.long
def test_a_sequence_is_reversed() -> None:
    assert trained(2)["right"] >= 0.9


@pytest.mark.long
def test_a_circle_is_restored_from_its_code() -> None:
    names = trained(4)
    assert names["rest"] < 0.1 * names["points"].var()
    assert names["values"][-20:].mean() < 0.2 * names["values"][:20].mean()


@pytest.mark.long
def test_what_the_generator_makes_lies_near_the_ring() -> None:
    radii = trained(5)["radii"]
    assert 0.7 < radii.mean() < 1.3 and radii.std() < 0.4


@pytest.mark.long
def test_an_ensemble_disagrees_where_there_was_no_data() -> None:
    names = trained(6)
    assert names["outside"] > 3 * names["inside"]


@pytest.mark.long
def test_four_devices_give_the_losses_of_one() -> None:
    code = "\n".join([BLOCKS[0], BLOCKS[7], "assert jax.device_count() == 4", "print(abs(alone - together).max())"])
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-4


def test_the_examples_are_short() -> None:
    lengths = [len([line for line in block.splitlines() if line.strip()]) for block in BLOCKS]
    assert len(BLOCKS) == 8 and max(lengths) <= LONGEST
