"""Adversarial networks: the players against flax, what fits together, and that one learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from dlkit import gan_losses, models
from tests.compiled import compiled

KEY = jax.random.key(0)


class Perceptron(linen.Module):
    """A leaky perceptron in flax, with the names of `models.mlp`."""

    widths: tuple[int, ...]

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for place, width in enumerate(self.widths[:-1]):
            x = linen.leaky_relu(linen.Dense(width, name=f"hidden_{place}")(x))
        return linen.Dense(self.widths[-1], name="output")(x)


@pytest.mark.long
def test_the_dense_players_equal_flax() -> None:
    gan = models.dense_gan((4, 3), latent=5, hidden=(8, 6), output_activation="tanh")
    params, state = compiled(gan.generator).init(KEY, (5,))
    latent = jax.random.normal(jax.random.key(1), (3, 5))
    copied = {name: block["dense"] for name, block in params["mlp"].items()}
    expected = jnp.tanh(jax.jit(Perceptron((8, 6, 12)).apply)({"params": copied}, latent)).reshape(3, 4, 3)
    examples = jax.jit(lambda x: gan.generator.apply(params, state, x)[0])(latent)
    np.testing.assert_allclose(examples, expected, rtol=1e-5, atol=1e-6)

    discriminator = compiled(gan.discriminator)
    params, state = discriminator.init(KEY, (4, 3))
    copied = {name: block["dense"] for name, block in params["mlp"].items()}
    expected = jax.jit(Perceptron((6, 8, 1)).apply)({"params": copied}, examples.reshape(3, 12))[:, 0]
    np.testing.assert_allclose(discriminator.apply(params, state, examples)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_the_feature_maps_of_the_convolutional_players() -> None:
    gan = models.convolutional_gan((8, 12, 2), latent=5, features=(8, 6))
    params, state = compiled(gan.generator).init(KEY, (5,))
    # 2 x 3 x 8 features, doubled twice.
    assert params["start"]["dense"]["kernel"].shape == (5, 2 * 3 * 8)
    assert params["start"]["normalization"]["scale"].shape == (8,)
    assert params["grow_0"]["normalization"]["scale"].shape == (6,)
    assert sorted(params) == ["grow_0", "output", "start"]
    assert params["output"]["bias"].shape == (2,)
    # As in the paper: normal with standard deviation 0.02; 240 values.
    assert float(params["start"]["dense"]["kernel"].std()) == pytest.approx(0.02, rel=0.25)
    latent = 100 * jax.random.normal(KEY, (2, 3, 5))
    images, new_state = jax.jit(lambda x: gan.generator.apply(params, state, x, train=True))(latent)
    assert images.shape == (2, 3, 8, 12, 2) and float(jnp.abs(images).max()) <= 1
    assert sorted(new_state) == sorted(state) == ["grow_0", "start"]

    discriminator = compiled(gan.discriminator)
    params, state = discriminator.init(KEY, (8, 12, 2))
    assert sorted(params) == ["output", "shrink_0", "shrink_1"] and state == {}
    assert params["output"]["kernel"].shape == (2 * 3 * 8, 1)
    assert discriminator.apply(params, state, images)[0].shape == (2, 3)


@pytest.mark.long
@pytest.mark.parametrize(
    ("gan", "shape"),
    [
        (models.dense_gan((4, 3), latent=5, hidden=(8, 6), normalization="batch", dropout=0.2), (4, 3)),
        (models.convolutional_gan((8, 4, 2), latent=5, features=(8, 6), dropout=0.2), (8, 4, 2)),
    ],
    ids=["dense", "convolutional"],
)
def test_gradients_of_a_score_reach_every_kernel_of_both_players(gan: models.Gan, shape: tuple[int, ...]) -> None:
    params_g, state_g = compiled(gan.generator).init(KEY, (5,))
    params_d, state_d = compiled(gan.discriminator).init(jax.random.key(1), shape)
    assert jax.tree.leaves(state_g) and not jax.tree.leaves(state_d)
    latent = jax.random.normal(jax.random.key(2), (3, 5))

    def score(params_g, params_d):
        examples, _ = gan.generator.apply(params_g, state_g, latent, key=jax.random.key(3), train=True)
        assert examples.shape == (3, *shape)
        scores, _ = gan.discriminator.apply(params_d, state_d, examples, key=jax.random.key(4), train=True)
        assert scores.shape == (3,)
        return jnp.square(scores).sum()

    for gradient in jax.jit(jax.grad(score, argnums=(0, 1)))(params_g, params_d):
        # A bias before a batch normalization has no effect; every kernel has one.
        kernels = [leaf for path, leaf in jax.tree.leaves_with_path(gradient) if "kernel" in str(path)]
        assert kernels and all(np.any(np.asarray(leaf) != 0) for leaf in kernels)


@pytest.mark.long
@pytest.mark.parametrize(
    "gan",
    [models.dense_gan((4, 4, 1), latent=2, hidden=(4,)), models.convolutional_gan((4, 4, 1), latent=2, features=(4,))],
    ids=["dense", "convolutional"],
)
def test_the_score_of_an_example_ignores_its_neighbours(gan: models.Gan) -> None:
    params, state = compiled(gan.discriminator).init(KEY, (4, 4, 1))
    x = jax.random.normal(jax.random.key(1), (3, 4, 4, 1))
    score = jax.jit(lambda x: gan.discriminator.apply(params, state, x, key=KEY, train=True)[0])
    np.testing.assert_allclose(score(x), jnp.stack([score(each) for each in x]), rtol=1e-5, atol=1e-7)


@pytest.mark.long
def test_dropout_acts_on_the_discriminator_only() -> None:
    gan = models.dense_gan((4,), latent=2, hidden=(16,), dropout=0.5)
    params, state = gan.generator.init(KEY, (2,))
    latent = jnp.ones((3, 2))
    gan.generator.apply(params, state, latent, train=True)  # needs no key
    params, state = gan.discriminator.init(KEY, (4,))
    first, second = (
        gan.discriminator.apply(params, state, jnp.ones((3, 4)), key=key, train=True)[0]
        for key in (KEY, jax.random.key(1))
    )
    assert (first != second).any()
    with pytest.raises(ValueError, match="dropout: expected a key while training, got None"):
        gan.discriminator.apply(params, state, jnp.ones((3, 4)), train=True)


@pytest.mark.long
def test_a_generator_learns_where_the_examples_are() -> None:
    """Points around (2, -1), against a generator that starts at the origin; least-squares scores."""
    gan, loss = models.dense_gan((2,), latent=2, hidden=(16,)), gan_losses.get("least_squares")
    optimizer = optax.adam(3e-3, b1=0.5)
    centre = jnp.array([2.0, -1.0])
    players = compiled(gan.generator).init(KEY, (2,))[0], compiled(gan.discriminator).init(jax.random.key(1), (2,))[0]

    def generated(params, key: jax.Array) -> jax.Array:
        return gan.generator.apply(params, {}, jax.random.normal(key, (64, 2)))[0]

    def score(params, x: jax.Array) -> jax.Array:
        return gan.discriminator.apply(params, {}, x)[0]

    def step(carry, key: jax.Array):
        (params_g, params_d), (optimizer_g, optimizer_d) = carry
        key_real, key_fake = jax.random.split(key)
        real = centre[None] + 0.3 * jax.random.normal(key_real, (64, 2))

        def loss_d(params_d):
            losses = loss.discriminator(score(params_d, real), score(params_d, generated(params_g, key_fake)))
            return losses[0].mean() + losses[1].mean()

        def loss_g(params_g):
            return loss.generator(score(params_d, generated(params_g, key_fake))).mean()

        updates_d, optimizer_d = optimizer.update(jax.grad(loss_d)(params_d), optimizer_d)
        updates_g, optimizer_g = optimizer.update(jax.grad(loss_g)(params_g), optimizer_g)
        params = optax.apply_updates(params_g, updates_g), optax.apply_updates(params_d, updates_d)
        return (params, (optimizer_g, optimizer_d)), generated(params[0], key_fake).mean(0)

    carry = players, tuple(map(optimizer.init, players))
    _, means = jax.jit(lambda carry: jax.lax.scan(step, carry, jax.random.split(jax.random.key(2), 1_500)))(carry)
    assert float(jnp.linalg.norm(means[0] - centre)) > 1.5
    # Players circle around the solution: the mean of the last third.
    np.testing.assert_allclose(means[-500:].mean(0), centre, atol=0.3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.dense_gan((4,), latent=0), "dense_gan: expected latent to be an integer of at least 1, got 0"),
        (lambda: models.dense_gan((4,), latent=2, hidden=(3, 0)), r"dense_gan: expected hidden\[1\] to be an integer"),
        (lambda: models.dense_gan((4,), latent=2, output_activation="tahn"), "did you mean 'tanh'"),
        (
            lambda: models.dense_gan((4,), latent=2).generator.init(KEY, (4,)),
            r"dense_gan: generator: expected examples of shape \(2,\), got \(4,\)",
        ),
        (
            lambda: models.dense_gan((4,), latent=2).discriminator.init(KEY, (2,)),
            r"dense_gan: discriminator: expected examples of shape \(4,\), got \(2,\)",
        ),
        (lambda: models.convolutional_gan((6, 8, 1), latent=2), r"divisible by .* = 4, got \(64, 32\) and \(6, 8, 1\)"),
        (lambda: models.convolutional_gan((8, 8), latent=2), r"\(height, width, channels\) .* got .* and \(8, 8\)"),
        (
            lambda: models.convolutional_gan((8, 8, 1), latent=2, features=()),
            "convolutional_gan: expected features and",
        ),
        (
            lambda: models.convolutional_gan((8, 8, 1), latent=2, features=(0,)),
            r"expected features\[0\] to be an integ",
        ),
    ],
)
def test_bad_settings_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
