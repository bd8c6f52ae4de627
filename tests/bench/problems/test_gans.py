"""The games between generators and discriminators: their functions, their trivial scores, and what training reaches."""

import copy
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dlkit import gan_losses
from dlkit.bench import data, optimizers
from dlkit.bench.errors import UserError
from dlkit.bench.problems import PROBLEMS, Problem, catalog, check_problem, tunable
from dlkit.bench.problems.sample_quality import Gaussian, Kernel, squared_mmd
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.program import compile_problem, compile_program
from dlkit.bench.training.recipe import Recipe
from dlkit.bench.training.trajectory import train_trial

SETTINGS = {"learning_rate": 1e-3, "b1": 0.5, "b2": 0.99}


def trained(
    problem: Problem, name: str = "adam", steps: int | None = None, seed: int = 0, **values: float
) -> Trajectory:
    recipe = Recipe(optimizer=optimizers.get(name), steps=steps or problem.steps, evaluations=10)
    return train_trial(
        compile_program(compile_problem(problem), recipe), {**SETTINGS, **values}, stage="final", seed=seed
    )


@cache
def begun(**choices: Any) -> tuple[Problem, Any, Any, Any]:
    problem = catalog.get("ring-gan", width=8, **choices)
    params, state = jax.jit(problem.init)(jax.random.key(0))
    return problem, params, state, {"inputs": jnp.asarray(problem.dataset.train["inputs"][:16])}


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [name if name == "least_squares" else pytest.param(name, marks=pytest.mark.slow) for name in gan_losses.NAMES],
)
def test_both_players_losses_are_those_of_their_scores(name: str) -> None:
    """At zero scores, whatever the samples are: the last kernel of the discriminator is set to zero."""
    problem, params, state, batch = begun(loss=name)
    silent = copy.deepcopy(params)
    layer = silent["discriminator"]["mlp"]["output"]
    layer["dense"] = jax.tree.map(jnp.zeros_like, layer["dense"])
    key, loss = jax.random.key(1), gan_losses.get(name)
    critic, generator = (float(jax.jit(each.loss)(silent, state, batch, key)[0]) for each in problem.players)
    assert critic == pytest.approx(sum(float(each.mean()) for each in loss.discriminator(jnp.zeros(1), jnp.zeros(1))))
    assert generator == pytest.approx(float(loss.generator(jnp.zeros(1))[0]))


@pytest.mark.long
@pytest.mark.parametrize("penalty", ["r1", pytest.param("wgan_gp", marks=pytest.mark.slow)])
def test_penalties_are_added_to_the_discriminators_loss_alone_and_may_be_traced(penalty: str) -> None:
    assert tunable("ring-gan") == tunable("digits-gan") == ("penalty_strength",)
    plain, params, state, batch = begun(penalty_strength=0.0)
    key = jax.random.key(1)

    @jax.jit
    def traced(strength: Any) -> Any:
        problem = PROBLEMS["ring-gan"](width=8, penalty=penalty, penalty_strength=strength)
        return [player.loss(params, state, batch, key)[0] for player in problem.players]

    base = jax.jit(lambda: [player.loss(params, state, batch, key)[0] for player in plain.players])()
    weak, strong = (list(map(float, traced(jnp.float32(strength)))) for strength in (0.5, 2.0))
    assert weak[1] == strong[1] == pytest.approx(float(base[1]), rel=1e-6)
    assert strong[0] - float(base[0]) == pytest.approx(4 * (weak[0] - float(base[0])), rel=1e-3)
    assert weak[0] > float(base[0])

    def score(x: Any) -> Any:
        for place in ("hidden_0", "hidden_1"):
            dense = params["discriminator"]["mlp"][place]["dense"]
            x = jax.nn.relu(x @ dense["kernel"] + dense["bias"])
        return (x @ params["discriminator"]["mlp"]["output"]["dense"]["kernel"])[0]

    if penalty == "r1":  # gamma / 2 times the mean squared slope at real examples
        slopes = jax.jit(jax.vmap(jax.grad(score)))(batch["inputs"])
        assert strong[0] - float(base[0]) == pytest.approx(float(jnp.square(slopes).sum(axis=1).mean()), rel=1e-3)


@pytest.mark.slow
def test_a_spectrally_normalized_discriminator_is_flat_and_its_vectors_move() -> None:
    problem, params, state, batch = begun(spectral_norm=True)
    check_problem(problem)
    discriminator, generator = problem.players
    start = params
    params = jax.tree.map(lambda leaf: leaf + jnp.linspace(-1, 1, leaf.size).reshape(leaf.shape), start)
    moved = jax.jit(discriminator.loss)(params, state, batch, jax.random.key(1))[1]
    kept = jax.jit(generator.loss)(params, state, batch, jax.random.key(1))[1]
    vectors = {name: each for name, each in state["discriminator"]["singular"].items() if each.size > 1}
    assert len(vectors) == 2
    assert all(not np.array_equal(vectors[name], moved["discriminator"]["singular"][name]) for name in vectors)
    assert all(np.array_equal(vectors[name], kept["discriminator"]["singular"][name]) for name in vectors)
    plain = catalog.get("ring-gan", width=8)
    jax.tree.map(np.testing.assert_array_equal, start, jax.jit(plain.init)(jax.random.key(0))[0])


@pytest.mark.long
def test_samples_come_from_the_same_latent_vectors() -> None:
    problem, params, state, _ = begun()
    samples = np.asarray(jax.jit(problem.samples)(params, state))
    assert samples.shape == (500, 2)
    np.testing.assert_array_equal(samples, jax.jit(lambda *start: problem.samples(*start))(params, state))
    # the metrics are those of the same samples
    held_out = problem.dataset.validation["inputs"]
    found = jax.jit(problem.evaluate)(params, state, {"inputs": jnp.asarray(held_out)})
    distances = [cdist(*pair) for pair in ((samples, held_out), (samples, samples), (held_out, held_out))]
    within = sum(each.sum() / (len(each) * (len(each) - 1)) for each in distances[1:])
    assert float(found["energy_distance"]) == pytest.approx(2 * distances[0].mean() - within, rel=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", ["ring-gan", "digits-gan"])
def test_trivial_is_the_mmd_of_a_fitted_gaussians_samples(name: str) -> None:
    problem = catalog.get(name)
    train, held_out = (
        getattr(problem.dataset, split)["inputs"].astype(np.float64) for split in ("train", "validation")
    )
    rng = np.random.default_rng(0)
    kernel = Kernel.of(held_out)
    measure = jax.jit(lambda samples: squared_mmd(samples, jnp.asarray(held_out, jnp.float32), kernel))
    fitted = rng.multivariate_normal(train.mean(axis=0), np.cov(train.T), size=(30, len(held_out)), method="svd")
    values = np.array([float(measure(jnp.asarray(each, jnp.float32))) for each in fitted])
    assert problem.trivial == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(len(values)))
    assert Gaussian.of(train).squared_mmd(held_out, kernel) == pytest.approx(problem.trivial)


def test_the_ring_is_eight_gaussians() -> None:
    points = np.concatenate(
        [split["inputs"] for split in (data.ring().train, data.ring().validation, data.ring().test)]
    )
    distances = np.linalg.norm(points[:, None] - data.ring_centres(8), axis=2)
    np.testing.assert_array_equal(np.bincount(distances.argmin(axis=1)), 800)
    off = points - data.ring_centres(8)[distances.argmin(axis=1)]
    np.testing.assert_allclose(off.std(axis=0), 0.05, rtol=0.05)
    with pytest.raises(UserError, match="needs modes >= 2"):
        data.ring(modes=1)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"loss": "hinges"}, "problem 'ring-gan': unknown GAN loss 'hinges'; did you mean 'hinge'"),
        ({"penalty": "r2"}, "problem 'ring-gan': no penalty 'r2'; expected one of 'r1', 'wgan_gp'"),
        ({"penalty_strength": -1.0}, "expected penalty_strength .* got -1.0"),
        ({"critic_steps": 0}, "expected critic_steps .* got 0"),
        ({"critic_steps": 2, "updates": "simultaneous"}, "'discriminator' has 2 moves"),
        ({"updates": "together"}, "no updates 'together'"),
    ],
)
def test_choices_that_make_no_game(choices: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        catalog.get("ring-gan", **choices)


@pytest.mark.slow
def test_the_ring_gan_covers_all_modes() -> None:
    result = trained(catalog.get("ring-gan"), learning_rate=3e-3)
    assert result.curves["modes"][-1] == 8
    assert result.curves["good_share"][-1] > 0.8
    assert result.curves["squared_mmd"][-1] < catalog.get("ring-gan").target


@pytest.mark.slow
def test_the_digits_gan_is_nearer_to_digits_than_a_gaussian_fit() -> None:
    problem = catalog.get("digits-gan")
    result = trained(problem, "adam+ema", decay=0.999)
    assert result.curves["squared_mmd"][-1] < problem.trivial
    assert result.curves["frechet_distance"][-1] < result.curves["frechet_distance"][0] / 10
