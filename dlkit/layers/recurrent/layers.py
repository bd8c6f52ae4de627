"""Recurrent layers: simple (Elman) networks, gated recurrent units, long short-term memory.

They differ in the cell. Layers in a stack, both directions, sequences of unequal lengths, dropout and a state that is
carried from call to call are the same for all.
"""

import jax
import jax.numpy as jnp

from dlkit import activations, checks
from dlkit.layers.base import Layer, described
from dlkit.layers.dense import default_kernel_init
from dlkit.layers.recurrent.cells import GRU_CELL, LSTM_CELL, simple_cell
from dlkit.layers.recurrent.stack import Initializers, Settings, recurrent_stack
from dlkit.typing import ArrayFunction, Initializer, Scalar, Shape

__all__ = ["gru", "lstm", "rnn"]

_orthogonal: Initializer = jax.nn.initializers.orthogonal()
_zeros: Initializer = jax.nn.initializers.zeros


@described
def rnn(
    features: int,
    *,
    activation: str | ArrayFunction = "tanh",
    depth: int = 1,
    bidirectional: bool = False,
    dropout: Scalar = 0.0,
    recurrent_dropout: Scalar = 0.0,
    output: str = "sequence",
    carry_batch_shape: Shape | None = None,
    unroll: int = 1,
    kernel_init: Initializer = default_kernel_init,
    recurrent_init: Initializer = _orthogonal,
    bias_init: Initializer = _zeros,
) -> Layer:
    """Simple recurrent network (Elman): h_t = activation(x_t W + b + h_{t-1} U), with h_0 = 0.

    Everything but the cell (arguments, parameters, `lengths=`, the carried state) is that of `lstm`, with one gate in
    the kernels.

    Args:
        features: size of the state h.
        activation: a name that `activations.get` knows, or a function; keeps the shape.
        depth: number of layers, each reading the outputs of the one before.
        bidirectional: whether every layer also reads the sequence from its end.
        dropout: probability of dropping a value between the layers of the stack while training; may be traced.
        recurrent_dropout: probability of dropping a unit of h_{t-1} in h_{t-1} U, the same ones at every step, while
            training; may be traced.
        output: "sequence" for h_t at every step, "last" for h after the last one.
        carry_batch_shape: shape of the batch axes, for a state that is carried from call to call; None for none.
        unroll: steps per iteration of the compiled loop; 1 is the fastest on CPU.
        kernel_init: `(key, shape, dtype) -> array` for W; LeCun normal, variance 1 / in_features.
        recurrent_init: the same for U; orthogonal.
        bias_init: the same for b; zeros.

    Returns:
        A layer for inputs `[*batch, time, in_features]`; outputs as those of `lstm`.

    Raises:
        ValueError: as `lstm`; or there is no activation of this name, or it does not keep the shape.
        TypeError: as `lstm`.

    Reference:
        Elman, "Finding structure in time", Cognitive Science 14, 1990.

    Example:
        >>> layer = rnn(3, activation="relu")
        >>> params, state = layer.init(jax.random.key(0), (5, 2))
        >>> layer.apply(params, state, jnp.zeros((4, 5, 2)))[0].shape
        (4, 5, 3)
    """
    function = activations.get(activation) if isinstance(activation, str) else activation
    checks.require_size("rnn", features=features)
    got = jax.eval_shape(function, jax.ShapeDtypeStruct((1, features), jnp.float32))
    if got.shape != (1, features):
        raise ValueError(f"rnn: expected an activation that keeps the shape (1, {features}), got {got.shape} from it")
    return recurrent_stack(
        "rnn",
        simple_cell(function),
        Settings(features, depth, bidirectional, dropout, recurrent_dropout, output, carry_batch_shape, unroll),
        Initializers(kernel_init, recurrent_init, bias_init),
    )


@described
def gru(
    features: int,
    *,
    depth: int = 1,
    bidirectional: bool = False,
    dropout: Scalar = 0.0,
    recurrent_dropout: Scalar = 0.0,
    output: str = "sequence",
    carry_batch_shape: Shape | None = None,
    unroll: int = 1,
    kernel_init: Initializer = default_kernel_init,
    recurrent_init: Initializer = _orthogonal,
    bias_init: Initializer = _zeros,
) -> Layer:
    """Gated recurrent unit: h_t = (1 - z) n + z h_{t-1}, with h_0 = 0.

    r = sigmoid(x_t W_r + b_r + h_{t-1} U_r), z = sigmoid(x_t W_z + b_z + h_{t-1} U_z) and
    n = tanh(x_t W_n + b_n + r (h_{t-1} U_n + b'_n)): the form of cuDNN, PyTorch and flax, whose reset gate acts after
    the product (in the paper before).

    Everything but the cell (arguments, parameters, `lengths=`, the carried state) is that of `lstm`, with the gates r,
    z, n in the kernels and `"recurrent_bias": [features]`, b'_n, beside the bias.

    Args:
        features: size of the state h.
        depth: number of layers, each reading the outputs of the one before.
        bidirectional: whether every layer also reads the sequence from its end.
        dropout: probability of dropping a value between the layers of the stack while training; may be traced.
        recurrent_dropout: probability of dropping a unit of h_{t-1} in h_{t-1} U, the same ones at every step, while
            training; may be traced.
        output: "sequence" for h_t at every step, "last" for h after the last one.
        carry_batch_shape: shape of the batch axes, for a state that is carried from call to call; None for none.
        unroll: steps per iteration of the compiled loop; 1 is the fastest on CPU.
        kernel_init: `(key, shape, dtype) -> array` for the W of each gate; LeCun normal, variance 1 / in_features.
        recurrent_init: the same for the U of each gate; orthogonal.
        bias_init: the same for the biases; zeros.

    Returns:
        A layer for inputs `[*batch, time, in_features]`; outputs as those of `lstm`.

    Raises:
        ValueError: as `lstm`.
        TypeError: as `lstm`.

    Reference:
        Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, https://arxiv.org/abs/1406.1078.

    Example:
        >>> layer = gru(3, bidirectional=True, output="last")
        >>> params, state = layer.init(jax.random.key(0), (5, 2))
        >>> layer.apply(params, state, jnp.zeros((4, 5, 2)))[0].shape
        (4, 6)
    """
    return recurrent_stack(
        "gru",
        GRU_CELL,
        Settings(features, depth, bidirectional, dropout, recurrent_dropout, output, carry_batch_shape, unroll),
        Initializers(kernel_init, recurrent_init, bias_init),
    )


@described
def lstm(
    features: int,
    *,
    depth: int = 1,
    bidirectional: bool = False,
    dropout: Scalar = 0.0,
    recurrent_dropout: Scalar = 0.0,
    output: str = "sequence",
    carry_batch_shape: Shape | None = None,
    unroll: int = 1,
    forget_bias: float = 1.0,
    kernel_init: Initializer = default_kernel_init,
    recurrent_init: Initializer = _orthogonal,
    bias_init: Initializer = _zeros,
) -> Layer:
    """Long short-term memory: c_t = f c_{t-1} + i g, h_t = o tanh(c_t), with h_0 = c_0 = 0.

    i, f, o = sigmoid(x_t W + b + h_{t-1} U) and g = tanh(x_t W + b + h_{t-1} U), each with its block of W, b and U.

    `apply` takes `lengths=` beside the usual arguments: how many steps of each sequence count, `[*batch]`, from 0 up to
    time (under `jit`, others are taken as the nearest). The steps after them are skipped: what they hold matters to
    nothing, even NaN; their outputs are 0. The outputs are those of the sequence alone, cut at its length; a direction
    that reads from the end begins at the sequence's own end. A sequence of length 0 leaves the initial state: 0, or
    what was carried.

    With `carry_batch_shape`, the layer has a state, `{"layer_0": {"hidden", "memory"}, ...}`, `[*batch, features]`
    each, where one call begins and which the next one gets; no gradient flows back through it (truncated
    backpropagation). `init` makes zeros, which also start new sequences. Training refuses inputs with other batch axes;
    otherwise they (examples held out, in another number) start from zeros and leave the state alone.

    Parameters: `{"layer_0": {"forward": {"input_kernel": [in_features, 4 * features], "recurrent_kernel": [features, 4
    * features], "bias": [4 * features]}}, ...}`, made in float32, and likewise "backward" when bidirectional. The gates
    are i, f, g, o, in this order, as in PyTorch, whose two biases are one here. The state of a step is kept in at least
    float32; outputs have the dtype that inputs and parameters promote to.

    Args:
        features: size of h and c.
        depth: number of layers, each reading the outputs of the one before.
        bidirectional: whether every layer also reads the sequence from its end; h of both directions side by side, the
            forward one first, is what the layer puts out.
        dropout: probability of dropping a value between the layers of the stack while training; may be traced.
        recurrent_dropout: probability of dropping a unit of h_{t-1} in h_{t-1} U, the same ones at every step of a
            sequence (variational dropout), while training; may be traced.
        output: "sequence" for h_t at every step, "last" for h after the last one: at the last step for the forward
            direction, at the first one for the backward direction.
        carry_batch_shape: shape of the batch axes, for a state that is carried from call to call; None for none.
        unroll: steps per iteration of the compiled loop; 1 is the fastest on CPU.
        forget_bias: added to the initial b of the gate f: 1 makes the cell remember at first.
        kernel_init: `(key, shape, dtype) -> array` for the W of each gate; LeCun normal, variance 1 / in_features.
        recurrent_init: the same for the U of each gate; orthogonal.
        bias_init: the same for the b of each gate; zeros.

    Returns:
        A layer for inputs `[*batch, time, in_features]`, with any time of at least 1 and any number of batch axes;
        outputs `[*batch, time, features]`, or `[*batch, features]` for the last; 2 features when bidirectional.

    Raises:
        ValueError: a size is no positive integer; a rate is a Python number outside [0, 1); the output is unknown; a
            carried state is combined with bidirectional; the shapes of inputs, lengths and state do not belong
            together; a length is out of range (outside `jit`); or there is no key where dropout needs one.
        TypeError: the inputs are not floating point, or the lengths not integers.

    Reference:
        Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997;
        Gers et al., "Learning to forget", Neural Computation 12, 2000;
        Gal and Ghahramani, 2015, https://arxiv.org/abs/1512.05287 (variational dropout).

    Example:
        >>> layer = lstm(3, depth=2)
        >>> params, state = layer.init(jax.random.key(0), (5, 2))
        >>> jax.tree.map(jnp.shape, params["layer_0"]["forward"])
        {'bias': (12,), 'input_kernel': (2, 12), 'recurrent_kernel': (3, 12)}
        >>> y, state = layer.apply(params, state, jnp.ones((4, 5, 2)), lengths=jnp.array([5, 1, 0, 2]))
        >>> y.shape, (y != 0).any(axis=-1).sum(axis=-1).tolist()
        ((4, 5, 3), [5, 1, 0, 2])
    """
    return recurrent_stack(
        "lstm",
        LSTM_CELL,
        Settings(features, depth, bidirectional, dropout, recurrent_dropout, output, carry_batch_shape, unroll),
        Initializers(kernel_init, recurrent_init, bias_init, (0.0, forget_bias, 0.0, 0.0)),
    )
