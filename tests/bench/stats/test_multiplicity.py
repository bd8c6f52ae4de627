"""Holm's procedure by hand, and as the closed test it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.stats import holm


def test_holm_by_hand():
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04 -> running maximum
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-15)
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([0.04]).tolist() == [0.04]


@given(st.lists(st.integers(0, 1000).map(lambda p: p / 1000), min_size=1, max_size=12), st.integers(1, 999))
@settings(deadline=None)
def test_holm_is_the_closed_test_by_bonferroni(p_values, per_mille):
    """Rejects a hypothesis iff Bonferroni rejects every prefix of the sorted p-values up to it."""
    level = per_mille / 1000 + 1e-7  # off the grid, so that rounding decides nothing
    ordered = sorted(p_values)
    failing = [p for rank, p in enumerate(ordered) if p > level / (len(p_values) - rank)]
    cut = min(failing, default=2.0)
    assert (holm(p_values) <= level).tolist() == [p < cut for p in p_values]


@pytest.mark.parametrize("p_values", [[-0.1, 0.5], [0.5, 1.1]])
def test_holm_refuses_what_is_no_probability(p_values):
    with pytest.raises(ValueError, match=r"p_values must lie in \[0, 1\]"):
        holm(p_values)
