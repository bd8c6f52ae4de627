"""The same bits inline, on workers, by the command line and in replays, on one core and on two; and what changes them.

Linear algebra is what used to differ: `eigh` and `qr` of LAPACK sum in another order with two threads. So processes
that stand for a user's own begin with two threads of it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dlkit import bench
from dlkit.bench.machine.linear_algebra import blas_threads, libraries
from dlkit.bench.machine.preparation import thread_variables
from dlkit.bench.machine.program import BIT_FIELDS, SOFTWARE_FIELDS
from dlkit.bench.optimizers import OPTIMIZERS, WRAPPERS
from dlkit.bench.store.store import Store

OURS = {*thread_variables(), "XLA_FLAGS"}
USER = {name: value for name, value in os.environ.items() if name not in OURS} | {"COLUMNS": "200"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen as Linux does it")

# A user's process: linear algebra has two threads before dlkit is imported, and has them again afterwards.
SCRIPT = """
import numpy, scipy.linalg
from dlkit.bench.machine.linear_algebra import blas_threads, libraries
for each in libraries():
    each.set(2)
from dlkit import bench
if __name__ == "__main__":
    resources = bench.Resources({resources})
    ended = bench.run(bench.load("spec.toml"), folder={folder!r}, resources=resources, progress=False)
    assert not ended.failures, ended.failures
    assert blas_threads() == "2", blas_threads()
"""


def run(*command: str, cwd: Path, cores: int | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments, on so many cores."""
    first = [] if cores is None else sorted(os.sched_getaffinity(0))[:cores]
    pinned = ["-c", f"import os, sys; os.sched_setaffinity(0, {first}); os.execv(sys.executable, sys.argv[1:])"]
    words = [sys.executable, *(pinned if first else []), *([sys.executable] if first else []), *command]
    return subprocess.run(words, cwd=cwd, env={**USER, **variables}, capture_output=True, text=True, timeout=3000)


def dlkit(*arguments: str, cwd: Path, cores: int | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "dlkit.bench.cli", *arguments, cwd=cwd, cores=cores, **variables)


def script(cwd: Path, folder: str, resources: str, *, cores: int | None = None, before: str = "") -> None:
    (cwd / f"{folder}.py").write_text(before + SCRIPT.format(folder=folder, resources=resources))
    ended = run(f"{folder}.py", cwd=cwd, cores=cores)
    assert ended.returncode == 0, ended.stderr


def write_spec(cwd: Path, optimizers: Sequence[str], problem: str = "digits-mlp", steps: int = 6) -> None:
    (cwd / "spec.toml").write_text(
        f'name = "matrix"\nproblems = ["{problem}"]\noptimizers = {list(optimizers)!r}\n[budget]\nsteps = {steps}\n'
        "evaluations = 2\nstudies = 1\ntuning_points = 2\ntuning_seeds = 1\nseeds = 2\n"
    )


def numbers(folder: Path) -> dict[str, tuple[bytes, ...]]:
    """Trial -> every bit of its curves and of what it ends with."""
    records = bench.open_run(folder).summary.records
    return {
        name: (
            *(curve.tobytes() for _, curve in sorted(outcome.curves.items())),
            repr(sorted(outcome.validation.items())).encode(),
            outcome.steps.tobytes(),
            b"" if outcome.example_scores is None else outcome.example_scores.tobytes(),
        )
        for name, (outcome, _) in records.items()
    }


def programs(folder: Path) -> set[tuple[str, ...]]:
    """What decides bits in the programs of a run's trials."""
    records = bench.open_run(folder).summary.records.values()
    return {tuple(each.program[field] for field in SOFTWARE_FIELDS + BIT_FIELDS) for each in records}


def matrix(work: Path, optimizers: Sequence[str], problem: str = "digits-mlp", steps: int = 6) -> int:
    """Runs and replays a study in every way; returns how many trials were compared with the first way's."""
    write_spec(work, optimizers, problem, steps)
    script(work, "user", 'executor="inline"', cores=1)
    script(work, "workers", "workers=2")
    ended = dlkit("run", "spec.toml", "--folder", "command", "--executor", "inline", "--no-report", cwd=work, cores=1)
    assert ended.returncode == 0, ended.stderr
    expected = numbers(work / "user")
    assert len(expected) >= 2 * len(optimizers)
    for folder in ("workers", "command"):
        found = numbers(work / folder)
        assert found.keys() == expected.keys()
        assert {name for name in found if found[name] != expected[name]} == set()
    assert programs(work / "user") == programs(work / "workers") == programs(work / "command")
    assert len(programs(work / "user")) == 1
    shutil.move(work / "workers", work / "moved")
    for folder, cores in (("user", 2), ("moved", 1)):
        ended = dlkit("replay", folder, "--all", cwd=work, cores=cores)
        assert (ended.returncode, ended.stdout) == (0, f"all {len(expected)} trials match, bit for bit\n"), ended.stderr
    return 4 * len(expected)


@pytest.mark.long
def test_eigenvectors_are_the_same_with_the_threads_of_a_users_process() -> None:
    curves = []
    for threads in (1, 2):
        for each in libraries():
            assert each.set is not None
            each.set(threads)
        trained = bench.train("digits-mlp", "soap", steps=4, evaluations=2, learning_rate=0.01, b2=0.95)
        assert blas_threads() == str(threads), "what the user's process had"
        curves.append(trained.curve.to_numpy().tobytes())
    for each in libraries():
        assert each.set is not None
        each.set(1)
    assert curves[0] == curves[1]


@linux
@pytest.mark.long
def test_every_way_to_run_gives_the_same_bits(tmp_path: Path) -> None:
    assert matrix(tmp_path, ["soap", "shampoo", "muon", "adam"]) == 64


@linux
@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_every_optimizer_and_every_wrapper_gives_the_same_bits_every_way(tmp_path: Path, part: int) -> None:
    wrapped = [f"{inner}+{wrapper}" for wrapper in WRAPPERS for inner in ("adam", "soap")]
    everybody = [*OPTIMIZERS, *wrapped]
    assert matrix(tmp_path, everybody[part::4], steps=4) > 200


# --- what changes bits is found, and named ---


@pytest.fixture(scope="module")
def adam_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder above a run of one contender in single precision."""
    work = tmp_path_factory.mktemp("changes")
    write_spec(work, ["adam"], "linear-regression")
    ended = dlkit("run", "spec.toml", "--folder", "run", "--executor", "inline", "--no-report", cwd=work)
    assert ended.returncode == 0, ended.stderr
    return work


CHANGES = {
    "double precision": ({"JAX_ENABLE_X64": "1"}, "jax_enable_x64 False then, True now"),
    "precision of products": (
        {"JAX_DEFAULT_MATMUL_PRECISION": "bfloat16"},
        "jax_default_matmul_precision None then, bfloat16 now",
    ),
    "random numbers": ({"JAX_DEFAULT_PRNG_IMPL": "rbg"}, "jax_default_prng_impl threefry2x32 then, rbg now"),
    "instruction set of XLA": (
        {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"},
        "XLA_FLAGS unset then, --xla_cpu_max_isa=SSE4_2",
    ),
    "kernels of linear algebra": ({"OPENBLAS_CORETYPE": "Nehalem"}, "blas_core: "),
}


@pytest.mark.long
@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_bits_is_named_by_a_replay(adam_run: Path, what: str) -> None:
    variables, words = CHANGES[what]
    if "OPENBLAS_CORETYPE" in variables and not libraries()[0].name.startswith("openblas"):
        pytest.skip("another library of linear algebra")
    ended = dlkit("replay", "run", "--all", cwd=adam_run, **variables)
    assert ended.returncode in (0, 3), ended.stderr
    assert f"  4 x {words}" in ended.stdout
    if what in ("double precision", "random numbers"):  # whose numbers are others for certain
        assert ended.returncode == 3 and " differ, or raised now, where the same bits are not promised" in ended.stdout


@pytest.mark.long
def test_what_changes_bits_is_not_mixed_by_a_resumed_run(adam_run: Path, tmp_path: Path) -> None:
    variables, words = CHANGES["instruction set of XLA"]
    shutil.copytree(adam_run, tmp_path / "again")
    again = ["run", "spec.toml", "--folder", "run", "--executor", "inline", "--no-report"]
    ended = dlkit(*again, cwd=tmp_path / "again", **variables)
    assert ended.returncode == 0 and f"4 stored trials were made by other software or settings: {words}" in (
        " ".join(ended.stderr.split())
    )
    opened = bench.open_run(tmp_path / "again/run")
    assert (
        len({each.program["jax_config"] + each.program["xla_flags"] for each in opened.summary.records.values()}) == 1
    )


@linux
@pytest.mark.long
def test_a_process_whose_jax_had_more_threads_says_so_and_is_not_mixed(tmp_path: Path) -> None:
    """JAX has started with two threads before dlkit trains in that process: they cannot be taken away."""
    write_spec(tmp_path, ["adam"], "linear-regression")
    started = "import os, jax; os.environ['NPROC'] = '2'; jax.devices(); del os.environ['NPROC']\n"
    script(tmp_path, "run", 'executor="inline"', before=started)
    (threads,) = {each.program["threads"] for each in bench.open_run(tmp_path / "run").summary.records.values()}
    assert threads == "2"
    replayed = dlkit("replay", "run", "--all", cwd=tmp_path, cores=1)  # by as many threads, on whatever cores
    assert (replayed.returncode, replayed.stdout) == (0, "all 4 trials match, bit for bit\n"), replayed.stderr
    ended = dlkit("run", "spec.toml", "--folder", "run", "--workers", "1", "--no-report", cwd=tmp_path)
    assert ended.returncode == 0
    assert "4 stored trials were made by other software or settings: XLA's threads 2 then, 1 now" in (
        " ".join(ended.stderr.split())
    )
    with Store(tmp_path / "run", write=False) as store:
        (apart,) = store.apart()
    assert len(apart.trials) == 4 and apart.program["threads"] == "2"
    assert {each.program["threads"] for each in bench.open_run(tmp_path / "run").summary.records.values()} == {"1"}
