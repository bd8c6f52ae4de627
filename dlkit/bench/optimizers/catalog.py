"""Every registered optimizer by family; finds an optimizer by its name, with wrappers."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.optimizers import curvature, matrix, plain, sign, tuning_free
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.players import for_players
from dlkit.bench.optimizers.wrappers import WRAPPERS

__all__ = ["FAMILIES", "OPTIMIZERS", "get", "wrap"]

FAMILIES: Mapping[str, Sequence[Optimizer]] = MappingProxyType(
    {
        "plain": plain.OPTIMIZERS,
        "sign and large-batch": sign.OPTIMIZERS,
        "matrix": matrix.OPTIMIZERS,
        "tuning-free": tuning_free.OPTIMIZERS,
        "curvature": curvature.OPTIMIZERS,
    }
)
OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {optimizer.name: optimizer for family in FAMILIES.values() for optimizer in family}
)


def get(name: str) -> Optimizer:
    """Returns the optimizer of that name.

    Args:
        name: a registered name, alone or with wrappers, such as ``"adam"`` or ``"adam+clip+ema"``; or one for each
            player of a game: ``"discriminator=adam,generator=sgd"``.

    Returns:
        The optimizer.

    Raises:
        UserError: for an unknown name, with the nearest valid one, for wrappers that do not fit, and for players
            without an optimizer or with two.

    Example:
        >>> list(get("sgd+clip").space)
        ['learning_rate', 'max_norm']
    """
    if "=" in name:
        return for_players({player: get(own) for player, own in _by_player(name).items()})
    base, *wrappers = name.split("+")
    if base not in OPTIMIZERS:
        raise UserError(f"no optimizer '{base}'; {nearest(base, OPTIMIZERS)}")
    return wrap(OPTIMIZERS[base], wrappers)


def _by_player(name: str) -> dict[str, str]:
    """The parts of ``"player=optimizer,..."``."""
    parts = [part.strip().partition("=") for part in name.split(",")]
    players = [player for player, _, _ in parts]
    for player, _, own in parts:
        if not player or not own or "=" in own or players.count(player) > 1:
            raise UserError(
                f"optimizer '{name}': expected one optimizer for each player, such as "
                "'discriminator=adam,generator=sgd'"
            )
    return {player: own for player, _, own in parts}


def wrap(optimizer: Optimizer, wrappers: Sequence[str]) -> Optimizer:
    """Puts wrappers around an optimizer, the first innermost.

    Raises:
        UserError: for an unknown wrapper, with the nearest valid one, and for one that does not fit.

    Example:
        >>> wrap(get("sgd"), ["clip", "polyak"]).name
        'sgd+clip+polyak'
    """
    for name in wrappers:
        if name not in WRAPPERS:
            raise UserError(f"optimizer '{optimizer.name}+{name}': no wrapper '{name}'; {nearest(name, WRAPPERS)}")
        optimizer = WRAPPERS[name](optimizer)
    return optimizer
