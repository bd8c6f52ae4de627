"""How often a comparison on one test set is wrong about new examples, by blocks alone and by blocks and examples.

Prints the size of both tests, how often the interval holds the difference, and the power, as Markdown. Paired
differences are drawn for each block (a study) and example; the truth over new blocks and new examples is known.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr

from dlkit.bench.stats import crossed_difference, settle

BLOCKS = (2, 6, 10)
EXAMPLES = (27, 90, 360, 2000)
REPEATS = 4000
NUMBERS = 25_000_000  # of a cell at most
LEVEL = 0.95

Floats = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, int, int], Floats]  # (rng, blocks, examples) -> differences of mean 0


class Rates(NamedTuple):
    """Shares of the repetitions, in percent.

    Attributes:
        blocks: in which Student's test over blocks alone rejects.
        crossed: in which the test over blocks and examples does.
        held: in which the interval holds the true difference.
    """

    blocks: float
    crossed: float
    held: float


def scores(draw: Callable[..., Floats], *, examples: float, blocks: float) -> Draw:
    """Scores on a continuous scale: what an example has, what a block has, each times its strength, and the rest."""
    return lambda rng, a, n: examples * draw(rng, (1, n)) + blocks * draw(rng, (a, 1)) + draw(rng, (a, n))


def disagreements(expected: float | None, share: float, *, own: float) -> Draw:
    """Differences of 0/1 scores: so many examples are disputed, and `own` of them are won by one side in all blocks."""

    def draw(rng: np.random.Generator, a: int, n: int) -> Floats:
        disputed = rng.random((1, n)) < (share if expected is None else expected / n)
        winners = rng.choice([-1.0, 1.0], (1, n))
        chance = rng.choice([-1.0, 0.0, 1.0], (a, n))
        return disputed * np.where(rng.random((1, n)) < own, winners, chance)

    return draw


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Noise with light tails."""
    return rng.normal(size=shape)


def heavy(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Noise with heavy tails: Student's with three degrees of freedom."""
    return rng.standard_t(3, size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Lognormal noise of mean 0 and variance 1."""
    return (rng.lognormal(size=shape) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


WORLDS: Mapping[str, Draw] = {
    "normal, no effects": scores(normal, examples=0, blocks=0),
    "normal, examples matter": scores(normal, examples=1, blocks=0),
    "normal, blocks matter": scores(normal, examples=0, blocks=0.5),
    "normal, both matter": scores(normal, examples=1, blocks=0.1),
    "heavy tails, no effects": scores(heavy, examples=0, blocks=0),
    "heavy tails, examples matter": scores(heavy, examples=1, blocks=0),
    "heavy tails, both matter": scores(heavy, examples=1, blocks=0.1),
    "0/1, about 5 disputed, all by chance": disagreements(5, 0, own=0),
    "0/1, about 5 disputed, most by example": disagreements(5, 0, own=0.8),
    "0/1, about 20 disputed, most by example": disagreements(20, 0, own=0.8),
    "0/1, 30 % disputed, all by chance": disagreements(None, 0.3, own=0),
    "0/1, 30 % disputed, half by example": disagreements(None, 0.3, own=0.5),
    "0/1, 30 % disputed, all by example": disagreements(None, 0.3, own=1),
    "skewed, examples matter": scores(skewed, examples=1, blocks=0),
    "skewed, blocks matter": scores(skewed, examples=0, blocks=0.5),
}


def rates(draw: Draw, blocks: int, examples: int, *, shift: float = 0.0) -> Rates:
    """Repeats a comparison whose true difference is `shift`."""
    rng = np.random.default_rng([blocks, examples])
    repeats = min(REPEATS, max(300, NUMBERS // (blocks * examples)))
    found = np.zeros((repeats, 3))
    for line in found:
        table = shift + draw(rng, blocks, examples)
        means = table.mean(axis=1)
        error = float(means.std(ddof=1)) / math.sqrt(blocks)
        alone = 2 * float(stdtr(blocks - 1, -abs(means.mean()) / error)) if error > 0 else float(means.mean() == 0)
        both = crossed_difference(table, level=LEVEL)
        line[:] = alone <= 1 - LEVEL, both.p_value <= 1 - LEVEL, both.low <= shift <= both.high
    return Rates(*(100 * found.mean(axis=0)).tolist())


def ended(examples: int, *, of_examples: float, of_blocks: float, most: int = 60) -> tuple[float, float, float]:
    """Adds blocks until the difference on these examples is settled, and tests it on new ones, where there is none.

    Args:
        examples: how many there are.
        of_examples: standard deviation of what an example has, in that of the rest.
        of_blocks: the same of a block.
        most: blocks.

    Returns:
        In percent: how often it was settled, and then told on new examples at 5 %, and with doubled p-values.
    """
    rng, repeats = np.random.default_rng(examples), 1500
    found = np.zeros((repeats, 3))
    for line in found:
        table = scores(normal, examples=of_examples, blocks=of_blocks)(rng, most, examples)
        settlement = settle(np.stack([np.zeros(most), table.mean(axis=1)]), level=LEVEL)
        if settlement.decision == "best":
            p_value = crossed_difference(table[: settlement.seeds]).p_value
            line[:] = 1, p_value <= 1 - LEVEL, 2 * p_value <= 1 - LEVEL
    settled, told, doubled = (100 * found.mean(axis=0)).tolist()
    return settled, told, doubled


def main() -> None:
    """Prints the tables."""
    print("| size in % at 5 %, blocks alone / blocks and examples | blocks |", end="")
    print("".join(f" {n} examples |" for n in EXAMPLES))
    print("|---|---:|" + "---:|" * len(EXAMPLES))
    held = []
    for name, draw in WORLDS.items():
        for blocks in BLOCKS:
            found = [rates(draw, blocks, examples) for examples in EXAMPLES]
            held += [] if "skewed" in name else [each.held for each in found]
            cells = "".join(f" {each.blocks:.0f} / {each.crossed:.1f} |" for each in found)
            print(f"| {name} | {blocks} |{cells}", flush=True)
    print(f"\nThe interval held the difference in {min(held):.1f} to {max(held):.1f} % where nothing is skewed.\n")
    print("| found in %, blocks alone / blocks and examples; 10 blocks, 360 examples |", end="")
    print(" 2 standard errors | 3 | 4 |\n|---|---:|---:|---:|")
    for name, parts in {"blocks matter": (0.0, 0.5), "examples matter": (1.0, 0.0), "both matter": (1.0, 0.1)}.items():
        draw, (of_examples, of_blocks) = scores(normal, examples=parts[0], blocks=parts[1]), parts
        error = math.sqrt(of_examples**2 / 360 + of_blocks**2 / 10 + 1 / 3600)
        found = [rates(draw, 10, 360, shift=size * error) for size in (2, 3, 4)]
        cells = "".join(f" {each.blocks:.0f} / {each.crossed:.0f} |" for each in found)
        print(f"| {name} |{cells}", flush=True)
    print("\n| blocks added until settled, in % | settled | told on new examples | with doubled p-values |")
    print("|---|---:|---:|---:|")
    for examples, of_examples, of_blocks in ((90, 1.0, 0.1), (90, 0.6, 0.2), (90, 0.3, 0.3), (360, 0.3, 0.1)):
        settled, told, doubled = ended(examples, of_examples=of_examples, of_blocks=of_blocks)
        sizes = f"{examples} examples of {of_examples:g} sd, blocks of {of_blocks:g} sd"
        print(f"| {sizes} | {settled:.0f} | {told:.1f} | {doubled:.1f} |", flush=True)


if __name__ == "__main__":
    main()
