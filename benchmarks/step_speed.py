"""Time per step of eight networks: dlkit beside the loops of other libraries, in one run, interleaved, on one core.

    python -m benchmarks.step_speed                         every network and loop that is installed
    python -m benchmarks.step_speed --networks MLP CNN --loops dlkit linen --repeats 3 --share 0.5

Batch 64, Adam, the digits, 20 evaluations on the test split in every loop; the least CPU time of each. A loop that
trains another number of parameters than dlkit is left out; what each reaches on test is printed first. `--json` writes
the times.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax

from benchmarks.peers import equinox, fused, linen, nnx, own, tasks, torch
from benchmarks.peers.timing import Loop, microseconds
from dlkit.bench.machine.environment import configure_jax
from dlkit.bench.training.lanes import Lanes

LANES = Lanes(8)
LANED = ("MLP", "VAE", "GAN")  # bound by the overhead of calls, so that trials side by side gain
REPEATS = 7

LOOPS: Mapping[str, Callable[[tasks.Task], Loop]] = {
    "fused": fused.loop,
    "dlkit": own.loop,
    "dlkit-lanes": lambda task: own.loop(task, LANES),
    "linen": linen.loop,
    "nnx": nnx.loop,
    "nnx-functional": nnx.functional_loop,
    "equinox": equinox.loop,
    "torch": torch.loop,
    "torch-compile": lambda task: torch.loop(task, is_compiled=True),
}


def measured(name: str, loops: Sequence[str], *, repeats: int, share: float) -> dict[str, float]:
    """Returns the least microseconds per step of each loop that can train a network."""
    print(f"\n{name}", flush=True)
    task = tasks.task(name, share)
    made = {}
    for kind in loops:
        if kind == "dlkit-lanes" and name not in LANED:
            continue
        try:
            loop = LOOPS[kind](task)
            if kind == "torch-compile":
                loop.run()
        except Exception as error:
            if kind != "torch-compile":
                raise
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            print(f"  {kind}: left out, {reason[:120]}")  # and the others go on
            continue
        if loop.parameters != task.parameters:
            print(f"  {kind}: left out, it trains {loop.parameters:,} parameters, dlkit {task.parameters:,}")
            continue
        made[kind] = loop
    times = microseconds(made, steps=task.steps, repeats=repeats)
    return {kind: min(each) for kind, each in times.items()}


def table(times: Mapping[str, Mapping[str, float]], loops: Sequence[str]) -> str:
    """Returns microseconds per step, and in brackets their ratio to dlkit's, as a Markdown table."""
    lines = [f"| network | {' | '.join(loops)} |", f"|---|{'---:|' * len(loops)}"]
    for name, row in times.items():
        own_time = row.get("dlkit")
        cells = [
            "–" if kind not in row else f"{row[kind]:,.0f}" + (f" ({row[kind] / own_time:.2f})" if own_time else "")
            for kind in loops
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    known = [kind for kind in LOOPS if torch.INSTALLED or not kind.startswith("torch")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(tasks.MAKERS), default=list(tasks.MAKERS))
    parser.add_argument("--loops", nargs="+", choices=known, default=known)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps: 0.25 for a quick look")
    parser.add_argument("--json", type=Path, help="where to write the times")
    asked = parser.parse_args()
    configure_jax()
    times = {}
    for name in asked.networks:
        times[name] = measured(name, asked.loops, repeats=asked.repeats, share=asked.share)
        if asked.json:
            asked.json.write_text(json.dumps({"jax": jax.__version__, "microseconds": times}, indent=1))
    print(
        f"\nµs of CPU per step (ratio to dlkit), least of {asked.repeats} interleaved repeats, jax {jax.__version__}\n"
    )
    print(table(times, asked.loops))


if __name__ == "__main__":
    main()
