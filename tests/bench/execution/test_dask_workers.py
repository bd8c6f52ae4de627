"""What travels to dask workers: functions by value, arrays without a copy."""

import pickle
import tracemalloc
import types

import numpy as np
import pytest
from distributed.protocol import deserialize, serialize

from dlkit.bench.execution.dask_workers import _ByValue


def test_own_arrays_are_sent_without_a_copy() -> None:
    array = np.arange(4_000_000.0)
    tracemalloc.start()
    header, frames = serialize(_ByValue({"inputs": array}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * array.nbytes
    assert any(np.shares_memory(np.frombuffer(frame, np.uint8), array) for frame in frames)
    np.testing.assert_array_equal(deserialize(header, frames)["inputs"], array)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_functions_of_files_travel_by_value(protocol: int) -> None:
    own = types.FunctionType((lambda x: x + 1).__code__, {}, "own")
    own.__module__ = "__main__"  # of a script, which workers cannot import
    sent = pickle.loads(pickle.dumps(_ByValue((own, np.arange(3.0))), protocol))
    assert sent[0](2) == 3 and sent[0] is not own
    np.testing.assert_array_equal(sent[1], [0.0, 1.0, 2.0])
