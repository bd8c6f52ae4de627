"""Embeddings of token ids, and what tells a model the order of its inputs."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from dlkit import checks
from dlkit.layers.base import About, Layer, described
from dlkit.layers.products import is_sharded, matmul
from dlkit.layers.steps import Steps, counted, positions_from, start
from dlkit.typing import Array, DTypeLike, Initializer, Key, Params, Shape, State

__all__ = [
    "embedding",
    "learned_positions",
    "rotary",
    "sinusoidal_positions",
    "tied_logits",
]

_unit_rows: Initializer = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
_small_normal: Initializer = jax.nn.initializers.normal(0.02)


@described
def embedding(vocabulary: int, features: int, *, embedding_init: Initializer = _unit_rows) -> Layer:
    """Embedding of token ids: y = E[id], the row of a table of vectors that are learned.

    Parameters: `{"embedding": [vocabulary, features]}`, made in float32; the output has their dtype. The gradient of a
    row is the sum over the places where its id stands, zero where it stands nowhere.

    Args:
        vocabulary: number of ids, the rows of the table.
        features: size of the vectors.
        embedding_init: `(key, shape, dtype) -> array` for the table; normal with variance 1 / features, as in flax.

    Returns:
        A layer for integer ids `[*batch, *shape]` of any shape, also one id per example; outputs
        `[*batch, *shape, features]`. An id outside [0, vocabulary) gives a vector of NaN under `jit`, where its value
        cannot be refused, and no row gets a gradient from it. In `serial`, set `input_dtype=jnp.int32`.

    Raises:
        ValueError: vocabulary or features is no positive integer; an id is out of range, outside `jit`; or the table
            has another shape.
        TypeError: the ids are not integers.

    Reference:
        Bengio et al., "A neural probabilistic language model", JMLR 3, 2003.

    Example:
        >>> layer = embedding(10, 4)
        >>> params, state = layer.init(jax.random.key(0), (3,))
        >>> y, state = layer.apply(params, state, jnp.array([[1, 9, 1], [0, 0, 0]]))
        >>> y.shape
        (2, 3, 4)
    """
    checks.require_size("embedding", vocabulary=vocabulary, features=features)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del input_shape
        return {"embedding": embedding_init(key, (vocabulary, features), jnp.float32)}, {}

    def apply(
        params: Params, state: State, x: Integer[Array, "*shape"], *, key: Key | None = None, train: bool = False
    ) -> tuple[Float[Array, "*shape features"], State]:
        del key, train
        table = params["embedding"]
        if table.shape != (vocabulary, features):
            raise ValueError(f"embedding: expected a table [{vocabulary}, {features}], got {jax.typeof(table)}")
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise TypeError(
                f"embedding: expected integer token ids, got {jax.typeof(x)}; cast them, or in a chain "
                "set serial(..., input_dtype=jnp.int32)"
            )
        checks.require_class_indices("embedding", x, vocabulary)
        # uint8 could not name a row past the last one of 256.
        ids = x.astype(jnp.int32) if x.dtype.itemsize < 4 else x
        # A gather, whose gradient is a scatter: on CPU too faster than one-hot vectors times the table.
        rows = table.at[ids].get(
            mode="fill", fill_value=jnp.nan, wrap_negative_indices=False, out_sharding=rows_sharding(ids)
        )
        return rows, state

    return Layer(init, apply)


def tied_logits(x: Float[Array, "*batch features"], table: Float[Array, "vocabulary features"]) -> Array:
    """Logits of the next token from the table that embeds the tokens: x E^T.

    Args:
        x: what the model made of each position.
        table: E, the parameter "embedding" of `embedding`.

    Returns:
        One logit per id, `[*batch, vocabulary]`, in the dtype that the two promote to.

    Raises:
        ValueError: the sizes of the vectors differ.
        TypeError: a dtype is not floating point.

    Reference:
        Press & Wolf, "Using the output embedding to improve language models", 2016, https://arxiv.org/abs/1608.05859.

    Example:
        >>> tied_logits(jnp.array([1.0, 2.0]), jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        Array([1., 2., 3.], dtype=float32)
    """
    checks.require_floating("tied_logits", x=x, table=table)
    if table.ndim != 2 or x.shape[-1:] != table.shape[1:]:
        raise ValueError(
            "tied_logits: expected x [*batch, features] and a table [vocabulary, features], got "
            f"{jax.typeof(x)} and {jax.typeof(table)}"
        )
    # x E^T
    return matmul(x, table.T)


@described
def learned_positions(*, max_length: int | None = None, embedding_init: Initializer = _small_normal) -> Layer:
    """Add a learned vector to each position: y_t = x_t + P_t.

    Parameters: `{"embedding": [max_length, features]}`, made in float32. The output has the dtype that x and they
    promote to.

    Args:
        max_length: rows of the table; None takes the time of the example shape given to `init`.
        embedding_init: `(key, shape, dtype) -> array` for the table; normal with standard deviation 0.02.

    Returns:
        A layer for inputs `[*batch, time, features]`; time may be shorter than the table.

    Raises:
        ValueError: max_length is no positive integer; the example is not [time, features]; or x is longer than the
            table or has other features.
        TypeError: x is not floating point.

    Reference:
        Gehring et al., "Convolutional sequence to sequence learning", 2017, https://arxiv.org/abs/1705.03122.

    Example:
        >>> layer = learned_positions(max_length=8)
        >>> params, state = layer.init(jax.random.key(0), (5, 4))
        >>> y, state = layer.apply(params, state, jnp.zeros((2, 6, 4)))
        >>> bool((y[0] == params["embedding"][:6]).all())
        True
    """
    if max_length is not None:
        checks.require_size("learned_positions", max_length=max_length)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        time, features = _sequence_shape("learned_positions", input_shape)
        rows = time if max_length is None else max_length
        if time > rows:
            raise ValueError(f"learned_positions: expected at most max_length = {rows} positions, got {time}")
        return {"embedding": embedding_init(key, (rows, features), jnp.float32)}, {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time features"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch time features"], State]:
        del key, train
        checks.require_floating("learned_positions", inputs=x)
        table = params["embedding"]
        rows, features = table.shape
        if x.ndim < 2 or x.shape[-1] != features:
            raise ValueError(f"learned_positions: expected inputs [*batch, time, {features}], got {jax.typeof(x)}")
        if x.shape[-2] > rows:
            raise ValueError(
                f"learned_positions: expected at most {rows} positions, the rows of the table, got {jax.typeof(x)}; "
                "make a longer table with max_length"
            )
        # y_t = x_t + P_t
        return x + table[: x.shape[-2]].reshape((1,) * (x.ndim - 2) + x.shape[-2:]), state

    about = About(stepwise=lambda steps: _learned_steps(steps, max_length or steps.max_length, embedding_init))
    return Layer(init, apply, about=about)


def _learned_steps(steps: Steps, table_rows: int, embedding_init: Initializer) -> Layer:
    """Learned positions of sequences that come a piece at a time."""
    where = "learned_positions"

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        _, features = _sequence_shape(where, input_shape)
        return {"embedding": embedding_init(key, (table_rows, features), jnp.float32)}, {"index": start(steps)}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time features"],
        *,
        key: Key | None = None,
        train: bool = False,
        lengths: Integer[Array, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch time features"], State]:
        table = params["embedding"]
        if table.shape[0] < steps.max_length:
            raise ValueError(
                f"{where}: expected a table of at least max_length = {steps.max_length} positions, got "
                f"{jax.typeof(table)}"
            )

        def moved(x: Array, index: Array) -> Array:
            rows: Array = table.at[positions_from(index, x.shape[-2])].get(mode="clip")
            return x + rows

        _, at_index = counted(where, moved, steps)
        y, after = at_index({}, state, x, key=key, train=train, lengths=lengths)
        return y, after

    return Layer(init, apply)


@described
def sinusoidal_positions(*, base: float = 10_000.0) -> Layer:
    """Add waves of different lengths to each position t = 0, 1, ...: y_t = x_t + P_t.

    P_{t, 2i} = sin(t / base^(2i / features)) and P_{t, 2i + 1} = cos(t / base^(2i / features)): sine and cosine of one
    frequency stand beside each other (some implementations put all sines first). No parameters.

    Args:
        base: ratio of the longest wavelength to the shortest, about.

    Returns:
        A layer for inputs `[*batch, time, features]` of any length; the dtype of x is kept.

    Raises:
        ValueError: base is not above 0; the example is not [time, features]; or x has no time axis.
        TypeError: x is not floating point.

    Reference:
        Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762, section 3.5.

    Example:
        >>> y, _ = sinusoidal_positions().apply({}, {}, jnp.zeros((2, 4)))
        >>> [[round(value, 2) for value in position] for position in y.tolist()]
        [[0.0, 1.0, 0.0, 1.0], [0.84, 0.54, 0.01, 1.0]]
    """
    checks.require_number("sinusoidal_positions", "base", base, above=0)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del key
        _sequence_shape("sinusoidal_positions", input_shape)
        return {}, {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch time features"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch time features"], State]:
        del params, key, train
        checks.require_floating("sinusoidal_positions", inputs=x)
        if x.ndim < 2:
            raise ValueError(f"sinusoidal_positions: expected inputs [*batch, time, features], got {jax.typeof(x)}")
        waves = table(x.shape[-2], x.shape[-1], jnp.promote_types(x.dtype, jnp.float32))
        return added(x, waves.reshape((1,) * (x.ndim - 2) + waves.shape)), state

    def table(time: int, features: int, dtype: DTypeLike) -> Array:
        # t / base^(2i / features), in NumPy: a constant of the program, exact also at late positions.
        angles = np.arange(time)[:, None] * base ** (-np.arange(0, features, 2) / features)
        # An odd number of features has a last sine without its cosine.
        waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(time, -1)[:, :features]
        return jnp.asarray(waves, dtype)

    def added(x: Array, waves: Array) -> Array:
        return (x.astype(waves.dtype) + waves).astype(x.dtype)

    def stepwise(steps: Steps) -> Layer:
        def moved(x: Array, index: Array) -> Array:
            waves = table(steps.max_length, x.shape[-1], jnp.promote_types(x.dtype, jnp.float32))
            return added(x, waves.at[positions_from(index, x.shape[-2])].get(mode="clip"))

        return Layer(*counted("sinusoidal_positions", moved, steps), about=About(inputs=frozenset({"lengths"})))

    return Layer(init, apply, about=About(stepwise=stepwise))


def rotary(
    x: Float[Array, "*batch time features"], *, base: float = 10_000.0, offset: int | Integer[Array, "..."] = 0
) -> Float[Array, "*batch time features"]:
    """Rotary position embedding: turn pairs of features by angles that grow with the position.

    With d features, feature i and feature i + d/2 (the "halves" layout of GPT-NeoX, not neighbours as in the paper: a
    permutation of the features) turn by t / base^(2i/d) at position t. For queries and keys turned this way, q_m . k_n
    depends on the positions through m - n only; lengths do not change.

    It is a layer as it stands (`serial(rotary, ...)`), and what `multi_head_attention(..., rotation=rotary)` applies to
    the queries and keys of every head.

    Args:
        x: vectors along time; an even number of features. Heads stand among the batch axes.
        base: ratio of the longest wavelength to the shortest, about; `functools.partial` sets another one.
        offset: position of the first vector; may be traced, and `[*batch]`, where any axis may be of size 1: another
            one for each sequence.

    Returns:
        The turned vectors, in the shape and dtype of x.

    Raises:
        ValueError: x has no time axis or an odd number of features, or base is not above 0.
        TypeError: x is not floating point.

    Reference:
        Su et al., "RoFormer", 2021, https://arxiv.org/abs/2104.09864, equation 34.

    Example:
        >>> y = rotary(jnp.array([[1.0, 0.0], [1.0, 0.0]]))
        >>> [[round(value, 2) for value in position] for position in y.tolist()]
        [[1.0, 0.0], [0.54, 0.84]]
    """
    checks.require_floating("rotary", inputs=x)
    checks.require_number("rotary", "base", base, above=0)
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ValueError(
            f"rotary: expected inputs [*batch, time, features] with an even number of features, got {jax.typeof(x)}"
        )
    time, features = x.shape[-2:]
    compute_dtype = jnp.promote_types(x.dtype, jnp.float32)
    frequencies = base ** (-np.arange(0, features, 2) / features)
    if isinstance(offset, int):
        # In NumPy: a constant of the program, exact also at late positions.
        angles = (offset + np.arange(time))[:, None] * frequencies
        cosine, sine = jnp.asarray(np.cos(angles), compute_dtype), jnp.asarray(np.sin(angles), compute_dtype)
    else:
        positions = jnp.expand_dims(positions_from(offset, time), -1).astype(compute_dtype)
        turns = positions * jnp.asarray(frequencies, compute_dtype).reshape((1,) * (positions.ndim - 1) + (-1,))
        cosine, sine = jnp.cos(turns), jnp.sin(turns)
    shape = (1,) * (x.ndim - cosine.ndim) + cosine.shape
    cosine, sine = cosine.reshape(shape), sine.reshape(shape)
    first, second = jnp.split(x.astype(compute_dtype), 2, axis=-1)
    # (a, b) -> (a cos - b sin, b cos + a sin)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1).astype(x.dtype)


def rows_sharding(ids: Array) -> jax.sharding.NamedSharding | None:
    """Where the rows of a table are that ids name: where the ids are; None where their type says nothing of devices.

    Example:
        >>> rows_sharding(jnp.array([1, 2])) is None
        True
    """
    if not is_sharded(ids, range(ids.ndim)):
        return None
    sharding = jax.typeof(ids).sharding
    return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(*sharding.spec, None))


def _sequence_shape(where: str, input_shape: Shape) -> tuple[int, int]:
    """Refuse an example that is not [time, features]."""
    if len(input_shape) != 2 or min(input_shape) < 1:
        raise ValueError(f"{where}: expected an example shape (time, features), got {tuple(input_shape)}")
    return input_shape[0], input_shape[1]
