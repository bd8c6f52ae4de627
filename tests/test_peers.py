"""Other libraries' networks in the benchmarks are dlkit's."""

import jax
import pytest

from benchmarks.peers import linen, tasks


@pytest.mark.long
@pytest.mark.parametrize("name", tasks.MAKERS)
def test_a_network_of_linen_has_the_parameters_of_dlkits(name: str) -> None:
    task = tasks.task(name, 0.05)
    network = linen.NETWORKS[name]()
    batch = {split: array[:64] for split, array in task.train.items()}
    with jax.numpy_rank_promotion("allow"):  # as its users have it
        params, state = jax.eval_shape(network.init, jax.random.key(0))
        losses = [jax.eval_shape(each, params, state, batch, jax.random.key(0))[0] for each in network.losses.values()]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == task.parameters
    assert [loss.shape for loss in losses] == [()] * len(losses)
    assert set(network.losses) == {player.name for player in task.problem.players} or "" in network.losses
    assert task.order().shape == (1, task.interval, 64 * len(network.losses))
