"""The players of a game: who minimises what, how often, and in which order."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dlkit.bench.errors import UserError, nearest
from dlkit.typing import Array, Key, Params, State

__all__ = ["Batch", "Loss", "Player", "SteppedLoss", "Updates", "require_players", "with_step"]

Batch = Mapping[str, Array]
Loss = Callable[..., tuple[Array, State]]  # (params, state, batch, key), and step where it asks for it
SteppedLoss = Callable[[Params, State, Batch, Key, Array], tuple[Array, State]]
Updates = Literal["alternating", "simultaneous"]


@dataclass(frozen=True, eq=False)
class Player:
    """A player of a game: has parameters of its own and a loss that depends on the parameters of all.

    Attributes:
        name: whose parameters it moves: ``params[name]``.
        loss: ``loss(params, state, batch, key) -> (scalar, state)`` of everybody's parameters; its gradient is taken
            with respect to the player's own alone. `key` is fresh at every move. Where it has a parameter named
            ``step`` without a default, it is also given the number of steps done, an int32 scalar.
        moves: updates a step, when players take turns: 5 for a critic that is trained five times as often.

    Raises:
        UserError: for an empty name, or one with a character that the names of optimizers use; for no move.
    """

    name: str
    loss: Loss
    moves: int = 1

    def __post_init__(self) -> None:
        if not self.name.replace("_", "").isalnum():
            raise UserError(f"a player's name consists of letters, digits and '_', not {self.name!r}")
        if not isinstance(self.moves, int) or isinstance(self.moves, bool) or self.moves < 1:
            raise UserError(f"player '{self.name}': moves must be a whole number of at least 1, got {self.moves!r}")


def with_step(loss: Loss) -> SteppedLoss:
    """Returns ``loss(params, state, batch, key, step)``: the step is handed on to a loss with a parameter of that name.

    A parameter that has a default, or was bound by `functools.partial`, is the loss's own and keeps its value.

    Args:
        loss: of a problem or a player.

    Example:
        >>> def annealed(params, state, batch, key, *, step):
        ...     return params / (1 + step), state
        >>> with_step(annealed)(6.0, None, {}, None, 2)[0]
        2.0
    """
    try:
        asked = inspect.signature(loss).parameters.get("step")
    except (TypeError, ValueError):  # what is written in C may have no signature
        asked = None
    asks = asked is not None and asked.default is asked.empty  # a number of its own stays what it is

    def stepped(params: Params, state: State, batch: Batch, key: Key, step: Array) -> tuple[Array, State]:
        return loss(params, state, batch, key, step=step) if asks else loss(params, state, batch, key)

    return stepped


def require_players(where: str, players: Sequence[Player], updates: str, loss: Loss) -> None:
    """Refuses players that make no game.

    Args:
        where: the problem, for messages.
        players: its players.
        updates: how they move.
        loss: the problem's.

    Raises:
        UserError: for an unknown way to move, two players of one name, a loss that is no player's, or several moves of
            players that move at once.
    """
    if updates not in get_args(Updates):
        raise UserError(f"{where}: no updates '{updates}'; {nearest(str(updates), get_args(Updates))}")
    if not players:
        return
    names = [player.name for player in players]
    if len(set(names)) < len(names):
        raise UserError(f"{where}: every player needs a name of its own, got {names}")
    if all(player.loss is not loss for player in players):
        raise UserError(f"{where}: loss must be that of one of the players {names}: its curve is the training loss")
    if updates == "simultaneous" and (often := [player for player in players if player.moves > 1]):
        raise UserError(
            f"{where}: players that move simultaneously move once a step, but '{often[0].name}' has "
            f"{often[0].moves} moves; give it one, or let them alternate"
        )
