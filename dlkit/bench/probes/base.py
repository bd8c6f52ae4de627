"""A probe, what it is given at an evaluation point, and the examples that it is computed on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.plan.trials import Evaluations
from dlkit.bench.problems.base import Batch
from dlkit.typing import Array, Key, Params, State

__all__ = ["NOTHING", "PROBE_EXAMPLES", "OptimizerView", "Probe", "View", "curves_of", "norm", "probe_batch"]

BatchKind = Literal["probe", "minibatch"]
PROBE_EXAMPLES = 1024  # more of them cost more than they add: a probe is a diagnostic, not a metric
NOTHING = Evaluations(gradients=0)


class OptimizerView(NamedTuple):
    """What a probe sees of the optimizer.

    Attributes:
        method: the optimizer as it was declared.
        state: its state after the last step, as optax has it.
        settings: the numbers that its function was called with, those left at their defaults included; the learning
            rate without its schedule.
    """

    method: Optimizer
    state: Any
    settings: Mapping[str, Any]


class View(NamedTuple):
    """What a probe sees at an evaluation point.

    Of a game there is one view for each player: its own parameters, update, loss and optimizer, with the parameters of
    the others as they are.

    Attributes:
        params: the trained parameters after the last step.
        state: the state after the last step.
        update: the last step's change of the parameters, params_t - params_{t-1}; 0 before the first step.
        batch: the minibatch of the last step, before the first step that of the first: name -> [examples, ...].
        train: the training split: name -> [examples, ...]; empty for a problem without data.
        loss: ``loss(params, batch) -> scalar``: the mean over the batch's examples, state and key fixed.
        apply: ``apply(params, batch)``: a forward pass in evaluation mode, whose marked activations are looked at; None
            if there is none.
        learning_rate: the scheduled rate at this step; NaN if the optimizer has none.
        key: fresh at every evaluation point, for random start vectors.
        optimizer: its state and settings.
    """

    params: Params
    state: State
    update: Params
    batch: Batch
    train: Batch
    loss: Callable[[Params, Batch], Array]
    apply: Callable[[Params, Batch], Any] | None
    learning_rate: Array
    key: Key
    optimizer: OptimizerView


@dataclass(frozen=True, eq=False)
class Probe:
    """A diagnostic that is computed at every point of final trials' curves, inside the compiled segments.

    Its scalars are float32, NaN where the quantity is not defined for what was trained, and NaN for parameters that
    are NaN. It is a pure function: it works under jit and vmap.

    Attributes:
        name: how specs call it.
        curves: the names of the scalars that `compute` returns.
        compute: ``compute(view) -> {curve: float32 scalar}``.
        cost: what it evaluates at every evaluation point, counted in passes over `batch`: a gradient taken in chunks
            that cover the batch once is one gradient, a forward pass is one value. What it computes on parameters alone
            is not counted.
        batch: what `cost` is counted on: ``"probe"``, the `probe_batch`, or ``"minibatch"``, that of the last step.
        needs_activations: whether it looks at marked activations, which a problem may lack.
        needs_update: whether it looks at the last update, or what comes of one: its curves start with NaN.
        reads_optimizer: whether it looks at the optimizer's state or settings, which not all optimizers have: it is
            then tried on each contender before anything runs.
        description: a line for lists.
        reference: where it comes from.

    Raises:
        UserError: for curves that are not names, a function that is none, an unknown batch or a cost that is none.
    """

    name: str
    curves: tuple[str, ...]
    compute: Callable[[View], Mapping[str, Array]]
    cost: Evaluations = NOTHING
    batch: BatchKind = "probe"
    needs_activations: bool = False
    needs_update: bool = False
    reads_optimizer: bool = False
    description: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        where = f"probe '{self.name}'"
        if not self.name:
            raise UserError("a probe needs a name")
        curves: object = self.curves
        if isinstance(curves, str):
            raise UserError(f"{where}: curves must be a tuple of names, such as ({curves!r},), not a text")
        if not self.curves or len(set(self.curves)) != len(self.curves):
            raise UserError(f"{where}: curves must name at least one scalar, each once, got {self.curves!r}")
        if not callable(self.compute):
            raise UserError(f"{where}: compute must be a function of the view, got {self.compute!r}")
        if self.batch not in get_args(BatchKind):
            raise UserError(f"{where}: no batch {self.batch!r}; {nearest(str(self.batch), get_args(BatchKind))}")
        if not isinstance(self.cost, Evaluations):
            raise UserError(f"{where}: cost must be bench.Evaluations(...), got {self.cost!r}")


def curves_of(probe: Probe, view: View) -> dict[str, Array]:
    """Computes a probe and checks what it returned; called while tracing.

    Args:
        probe: the probe.
        view: what it sees.

    Returns:
        Curve -> float32 scalar, in the order of `probe.curves`.

    Raises:
        UserError: if it raises, the names are not those of `probe.curves`, or a value is not one number.
    """
    try:
        values = probe.compute(view)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"probe '{probe.name}': compute raised {type(error).__name__}: {error}") from error
    if not isinstance(values, Mapping) or set(values) != set(probe.curves):
        got = sorted(values) if isinstance(values, Mapping) else values
        raise UserError(f"probe '{probe.name}': expected the curves {sorted(probe.curves)}, got {got}")
    for name, value in values.items():
        if jnp.shape(value) != ():
            raise UserError(f"probe '{probe.name}': '{name}' must be one number, got shape {jnp.shape(value)}")
    return {name: jnp.asarray(values[name], jnp.float32) for name in probe.curves}


def probe_batch(train: Batch) -> Batch:
    """Returns the examples that probes look at: the first `PROBE_EXAMPLES` of the training split, all if it has fewer.

    Splits are shuffled, so that the first examples are a random sample, the same at every point and for every
    contender. A problem that trains on all of a small split is probed on exactly the loss it trains on.

    Args:
        train: name -> [examples, ...].

    Returns:
        Name -> [at most PROBE_EXAMPLES, ...]; empty if `train` is.

    Example:
        >>> probe_batch({"inputs": jnp.zeros((5000, 3))})["inputs"].shape
        (1024, 3)
    """
    return {name: array[:PROBE_EXAMPLES] for name, array in train.items()}


def norm(tree: Params) -> Array:
    r"""Returns the Euclidean norm of all arrays together, \|x\| = m \|x / m\| with m = max \|x_i\|.

    Dividing by the largest keeps squares from overflowing and underflowing in float32.

    Args:
        tree: arrays of any shapes.

    Returns:
        A float32 scalar; 0 for a tree of zeros, NaN if one value is.

    Example:
        >>> norm({"a": jnp.array([3e30]), "b": jnp.array([4e30])})
        Array(5.e+30, dtype=float32)
    """
    leaves = [jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), initial=0.0) for leaf in leaves]))
    scale = jnp.where(largest == 0, 1.0, largest)
    squares: Array = sum((jnp.sum((leaf / scale) ** 2) for leaf in leaves), jnp.float32(0))
    return largest * jnp.sqrt(squares)
