"""Bits of replays: after runs that were interrupted, and of a folder that was copied, without the user's own files."""

import io
import shutil
import signal
import sqlite3
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import bench
from dlkit.bench.analysis.summary import summarize
from dlkit.bench.cli.consent import require_consent
from dlkit.bench.execution import replay, runner
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.known_code import strange_code
from dlkit.bench.execution.own_code import keep_own_code, open_kept, whose
from dlkit.bench.execution.parcels import pack, unpack
from dlkit.bench.execution.progress import Silent
from dlkit.bench.execution.races import Entrant, Race
from dlkit.bench.execution.replay import replays
from dlkit.bench.execution.replay_tasks import Again
from dlkit.bench.machine.interrupts import first_interrupt
from dlkit.bench.plan.json import to_json
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.store import kept_code
from dlkit.bench.store.kept_code import KeptCode
from dlkit.bench.store.store import Store
from dlkit.bench.training.lanes import ALONE
from tests.bench.command_line import dlkit
from tests.bench.rewriting import rewrite

INLINE = bench.Resources(executor="inline")

PROBLEMS = ("digits-mlp", "diabetes-linear")
CONTENDERS = (
    Contender(optimizer="adam"),
    Contender(optimizer="schedule_free_sgd"),
    Contender(optimizer="noisy_sgd+clip", schedule="cosine", batch_size=16),
    Contender(optimizer="lion", early_stopping=EarlyStopping(patience=1)),
)
BUDGET = Budget(steps=20, evaluations=4, studies=1, tuning_points=2, tuning_seeds=1, seeds=2)


def asked(*, reverse: bool = False) -> Experiment:
    problems = tuple(ProblemChoice(problem=name, target=None) for name in PROBLEMS)
    return Experiment(
        name="replays",
        problems=problems[::-1] if reverse else problems,
        optimizers=CONTENDERS[::-1] if reverse else CONTENDERS,
        budget=BUDGET,
    )


class Interrupted(InlineExecutor):
    """Hears Ctrl-C before its third answer."""

    def __init__(self) -> None:
        super().__init__()
        self._answers = 0

    def next(self) -> Any:
        self._answers += 1
        if self._answers == 3:
            raise KeyboardInterrupt
        return super().next()


@pytest.mark.long
def test_eight_pairs_replay_bit_for_bit_after_a_disturbed_run(tmp_path: Path) -> None:
    whole = bench.run(asked(), resources=INLINE, progress=False)
    assert not whole.failures
    for turn in range(50):
        with Store(tmp_path) as store:
            report = runner.run(planner.plan(asked(reverse=bool(turn % 2))), store, Interrupted, Silent())
        if not report.interrupted and not turn % 2:
            break
    assert 3 < turn < 49, "it was interrupted"
    disturbed = bench.open_run(tmp_path)
    assert disturbed.table().equals(whole.table())
    pairs = set()
    for name, record in disturbed.summary.records.items():
        other = whole.summary.records[name].outcome
        assert {k: c.tobytes() for k, c in record.outcome.curves.items()} == {
            k: c.tobytes() for k, c in other.curves.items()
        }
        identity = record.outcome.trial.identity
        pair = (identity["problem"]["name"], identity["optimizer"]["name"])
        if identity["stage"] == "final" and pair not in pairs:
            pairs.add(pair)
            assert disturbed.replay(name).exact
    assert len(pairs) == 8


def test_summaries_of_a_disturbed_run_miss_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert runner.run(planner.plan(asked()), store, Interrupted, Silent()).interrupted
        partial = summarize(store)
        assert 0 < partial.missing < partial.planned
        assert all(each.verdict.kind == "incomplete" for each in partial.comparisons)


# --- one's own code, from a copied folder ---

FILES = {
    "mine.py": """
import jax, jax.numpy as jnp
from dlkit import bench
import lib.data

def make(width: int = 3):
    def init(key):
        return jax.random.normal(key, (width,)), None

    def error(params, batch):
        from lib.acts import act
        return ((act(batch["inputs"] @ params) - batch["targets"]) ** 2).mean()

    return bench.Problem(
        name="plane",
        init=init,
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"mse": error(params, batch)},
        dataset=lib.data.plane(width),
        metrics={"mse": bench.Metric("lower", "log")},
        batch_size=32,
        target=0.1,
    )
""",
    "lib/acts.py": """
import jax.numpy as jnp
SCALE = 1.5

def act(x):
    return jnp.tanh(x) * SCALE
""",
    "lib/data.py": """
import numpy as np
from dlkit import bench

def plane(width):
    inputs = np.random.default_rng(0).normal(size=(200, width)).astype(np.float32)
    return bench.split("plane", {"inputs": inputs, "targets": np.tanh(inputs.sum(axis=1))})
""",
    "spec.toml": """
name = "own"
problems = ["mine.py:make"]
optimizers = ["sgd", "adam"]
[budget]
steps = 20
evaluations = 4
studies = 1
tuning_points = 2
tuning_seeds = 2
seeds = 6
""",
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that was copied, and the files that it is of removed; it was made in double precision."""
    work, folder = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("elsewhere") / "run"
    for name, text in FILES.items():
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(text)
    ended = dlkit("run", "spec.toml", "--executor", "inline", "--no-report", cwd=work, JAX_ENABLE_X64="1")
    assert ended.returncode == 0, ended.stderr
    shutil.copytree(work / "runs/own", folder)
    shutil.rmtree(work)
    return folder


@pytest.mark.long
def test_every_trial_of_own_code_replays_without_its_files(copied: Path) -> None:
    opened = bench.open_run(copied)
    trials = sorted(opened.summary.records)
    assert len(trials) == 20
    shown = dlkit("replay", copied, *trials, cwd=copied.parent)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines() == [f"trial {each}: every number matches, bit for bit" for each in trials]
    (said,) = shown.stderr.splitlines()
    assert said.startswith(f"running code that {copied} has kept since 20") and ": problem 'plane', from /" in said
    assert all(name in said for name in ("/mine.py", "/lib/acts.py", "/lib/data.py"))
    sources = opened.summary.manifest["sources"][opened.summary.plan.digest]
    assert sorted(sources.values()) == sorted(FILES[name] for name in FILES if name.endswith(".py"))
    with sqlite3.connect(copied / "store.sqlite") as connection:
        assert {row[0] for row in connection.execute("SELECT sources FROM spec")} == {"{}"}, "texts are kept once"
    connection.close()


@pytest.mark.long
def test_code_that_was_not_made_here_runs_only_if_the_user_agrees(copied: Path, tmp_path: Path) -> None:
    """Elsewhere is another cache folder: that of another user, or another machine."""
    trial = next(iter(bench.open_run(copied).summary.records))
    elsewhere = {"DLKIT_CACHE": str(tmp_path / "cache")}
    refused = dlkit("replay", copied, trial, cwd=tmp_path, **elsewhere)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"error: {copied} keeps code that was not made here, and a replay runs it: problem 'plane'" in refused.stderr
    assert "--yes runs it" in refused.stderr and "running code" not in refused.stderr
    assert dlkit("verify", copied, "--replay", "1", cwd=tmp_path, **elsewhere).stderr == refused.stderr
    agreed = dlkit("replay", copied, trial, "--yes", cwd=tmp_path, **elsewhere)
    assert (agreed.returncode, agreed.stdout) == (0, f"trial {trial}: every number matches, bit for bit\n")
    assert not strange(copied, tmp_path / "cache"), "once is enough"
    edited(copied, tmp_path, "modules", "SCALE = 1.5", "SCALE = 2.5")  # under the name of what was agreed to
    (edit,) = strange(tmp_path / "run", tmp_path / "cache")
    assert "SCALE = 2.5" in "".join(edit.about.sources.values())
    (tmp_path / "cache" / "known_code").chmod(0o777)
    assert strange(copied, tmp_path / "cache"), "anybody can have written there"


def strange(run: Path, cache: Path) -> list[KeptCode]:
    """The code of a run that was not made where this cache folder is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DLKIT_CACHE", str(cache))
        return strange_code(run)


@pytest.mark.long
@pytest.mark.parametrize(
    ("answers", "agrees"), [("s\ny\n", True), ("show\n\n", False), ("", False), ("perhaps\nno\n", False)]
)
def test_who_is_asked_sees_the_text(
    copied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: str,
    agrees: bool,
) -> None:
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    terminal = io.StringIO(answers)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    if agrees:
        require_consent(copied, yes=False)
    else:
        with pytest.raises(bench.UserError, match="nothing was run; --spec SPEC takes the functions"):
            require_consent(copied, yes=False)
    said = capsys.readouterr().err
    assert ("SCALE = 1.5" in said) == answers.startswith("s") and "[y]es, [n]o, [s]how" in said
    assert bool(strange_code(copied)) != agrees


def test_the_file_of_a_script_is_said(tmp_path: Path) -> None:
    """Functions of a script travel by value: it is no module."""
    script: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("import optax\ndef own(learning_rate): return optax.sgd(learning_rate)", "/study.py", "exec"), script)
    method = bench.Optimizer("own", script["own"], {"learning_rate": bench.log_uniform(0.01, 0.1)})
    problem = ProblemChoice(problem="quadratic")
    bound = planner.plan(Experiment(name="", problems=[problem], optimizers=[Contender(optimizer=method)]))
    with Store(tmp_path) as store:
        kept = keep_own_code(bound, store, Silent())
        store.use_plan(bound.plan, bound.sources, kept)
        again = store.about_code(bound.plan.digest)
    assert whose(kept) == whose(again) == "optimizer 'own', from /study.py"


def edited(copied: Path, tmp_path: Path, column: str, before: str, after: str) -> Any:
    """A copy of a run whose kept code is changed; opened."""
    shutil.copytree(copied, tmp_path / "run")

    def change(row: dict[str, Any]) -> dict[str, Any]:
        assert before in row[column]
        return {column: row[column].replace(before, after)}

    rewrite(tmp_path / "run", "own_code", change)
    return bench.open_run(tmp_path / "run")


@pytest.mark.long
def test_code_that_computes_something_else_is_not_replayed(copied: Path, tmp_path: Path) -> None:
    opened = edited(copied, tmp_path, "modules", "SCALE = 1.5", "SCALE = 2.5")
    trial, plan = next(iter(opened.summary.records.values())).outcome.trial, opened.summary.plan
    alone = replace(plan, contenders=[c for c in plan.contenders if c.optimizer == trial.identity["optimizer"]["name"]])
    before, modules, finders = jax.config.jax_enable_x64, {*sys.modules}, [*sys.meta_path]
    try:
        again = Again(tmp_path / "run", plan.digest, to_json(alone), trial, trial, ALONE, 1).run().outcomes[0]
    finally:
        jax.config.update("jax_enable_x64", before)
        sys.meta_path[:] = finders
        for name in {*sys.modules} - modules:
            if name.partition(".")[0] in ("lib", "mine"):
                del sys.modules[name]
    assert again.status == "failed"
    assert again.reason.startswith("problem 'plane': computes something else in this process than where the run was")


@pytest.mark.long
def test_byte_code_of_another_python_is_refused(copied: Path, tmp_path: Path) -> None:
    now = f"{sys.version_info.major}.{sys.version_info.minor}"
    opened = edited(copied, tmp_path, "facts", f'"python": "{now}"', '"python": "3.9"')
    words = f"byte code of Python 3.9, and this is Python {now}; replay it with Python 3.9, or name the spec"
    with pytest.raises(bench.UserError, match=words):
        opened.replay(next(iter(opened.summary.records)))


def own(table: np.ndarray[Any, Any], held: Any = None) -> bench.Problem:
    """A problem of one's own with a table; `held` is something that its loss holds."""

    def error(params: Any, batch: Any) -> Any:
        assert held is None or held
        return ((batch["inputs"] @ params - batch["targets"]) ** 2).mean()

    return bench.Problem(
        name="plane",
        init=lambda key: (jax.random.normal(key, (table.shape[1],)), None),
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"mse": error(params, batch)},
        dataset=bench.split("plane", {"inputs": table, "targets": table.sum(axis=1)}),
        metrics={"mse": bench.Metric("lower", "log")},
        batch_size=32,
        target=0.1,
    )


def compared(problem: bench.Problem | str, folder: Path, *, seeds: int = 1) -> bench.Result:
    budget = bench.Budget(steps=4, evaluations=4, studies=1, tuning_points=1, tuning_seeds=1, seeds=seeds)
    asked: dict[str, Any] = {"problems": [problem], "optimizers": ["sgd"], "budget": budget, "folder": folder}
    return bench.compare(**asked, resources=INLINE, progress=False)


class Counting:
    """Holds an array that it writes to."""

    def __init__(self) -> None:
        self.count = np.zeros(1)


TABLE = np.random.default_rng(0).normal(size=(5000, 50)).astype(np.float32)


@pytest.mark.long
def test_a_table_is_kept_once(tmp_path: Path) -> None:
    for seeds in (1, 2):
        assert not compared(own(TABLE), tmp_path, seeds=seeds).failures
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        lengths = sorted(row[0] for row in connection.execute("SELECT LENGTH(bytes) FROM buffer"))
        ((specs,),) = connection.execute("SELECT COUNT(DISTINCT digest) FROM spec WHERE own_code != '[]'")
    connection.close()
    assert specs == 2 and 0.6 * TABLE.nbytes < sum(lengths) < 1.1 * TABLE.nbytes


def test_what_is_too_large_is_said_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kept_code, "MOST_BYTES", TABLE.nbytes // 2)
    result = compared(own(TABLE), tmp_path)
    assert "are not kept in the run folder, which would have more than 512 MiB" in capsys.readouterr().err
    trial = next(iter(result.summary.records))
    assert result.replay(trial).exact
    with pytest.raises(bench.UserError, match=r"problem 'plane' came from your own code, which is not kept with this"):
        bench.open_run(tmp_path).replay(trial)


@pytest.mark.long
def test_what_cannot_be_packed_is_said_once_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = compared(own(TABLE[:200], held=threading.Lock()), tmp_path)
    assert not result.failures
    said = capsys.readouterr().err
    assert said.count("your code cannot be kept in the run folder") == 1 and "cannot pickle '_thread.lock'" in said


def test_code_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    result = compared(own(TABLE[:200]), tmp_path)
    with Store(tmp_path, write=False) as store:
        kept = store.code(result.summary.plan.digest, "problem 'plane'")
    assert kept is not None and b"numpy" in kept.data
    with pytest.raises(bench.UserError, match=r"\(problem 'plane'\) cannot be opened here: .*No module named 'nunpy"):
        open_kept(kept._replace(data=kept.data.replace(b"numpy", b"nunpy")))


# --- several own things in one folder ---

OWN_OPTIMIZER = """
import optax

def descent(learning_rate):
    from lib import SCALE
    return optax.chain(optax.scale(SCALE), optax.sgd(learning_rate))
"""


def test_two_folders_with_modules_of_one_name_are_kept_timed_and_opened_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, scale in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(OWN_OPTIMIZER)
        (tmp_path / name / "lib.py").write_text(f"SCALE = {scale}")
    contenders = [
        Contender(optimizer=f"{tmp_path / name}/mine.py:descent", label=name, space={"learning_rate": (1e-3, 1e-1)})
        for name in "ab"
    ]
    asked = Experiment(
        name="two", problems=(ProblemChoice(problem="quadratic"),), optimizers=tuple(contenders), budget=BUDGET
    )
    bound = planner.plan(asked)
    with Store(tmp_path / "run") as store:
        kept = keep_own_code(bound, store, Silent())
        assert [each.owner for each in kept] == ["optimizer 'a'", "optimizer 'b'"] and not capsys.readouterr().err
        store.use_plan(bound.plan, {}, kept)
        opened = [store.code(bound.plan.digest, each.owner) for each in kept]
    (problem,) = bound.plan.problems
    entrants = [Entrant(bound.group(problem, each, {}), {"learning_rate": 1.0}) for each in bound.plan.contenders[:2]]
    race: Race = unpack(pack(Race(("a", "b"), tuple(entrants))))
    methods = [open_kept(each) for each in opened if each]
    for builds in ([each.group.recipe.optimizer.build for each in race.entrants], [m.optimizer.build for m in methods]):
        made = [build(learning_rate=1.0) for build in builds]
        assert [float(each.update(1.0, each.init(0.0), 0.0)[0]) for each in made] == [-1, -2]


def test_replaying_a_registered_optimizer_needs_no_other(tmp_path: Path) -> None:
    result = compared("quadratic", tmp_path)
    plan, name = result.summary.plan, next(iter(result.summary.records))
    other = replace(plan.contenders[0], label="other", optimizer="gone.optimizers:one", is_own=True)
    summary = replace(result.summary, plan=replace(plan, contenders=[other, *plan.contenders]))
    (again,) = replays(summary, [name], folder=tmp_path)
    assert again.exact


def test_ctrl_c_ends_a_trial_that_runs_here_while_an_executor_of_others_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay, "run_work", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    work: Any = None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with first_interrupt(lambda: None), pytest.raises(KeyboardInterrupt):  # as `ProcessExecutor` has it
            replay._run_here(work, 1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_kept_arrays_can_be_written_to(tmp_path: Path) -> None:
    result = compared(own(TABLE[:200], held=Counting()), tmp_path)
    with Store(tmp_path, write=False) as store:
        kept = store.code(result.summary.plan.digest, "problem 'plane'")
    assert kept is not None
    problem = open_kept(kept)
    held = next(
        c.cell_contents
        for c in problem.evaluate.__closure__[0].cell_contents.__closure__
        if isinstance(c.cell_contents, Counting)
    )
    held.count[0] += 1


@pytest.mark.long
def test_a_scratch_process_has_the_threads_of_its_trial(tmp_path: Path) -> None:
    """JAX starts with the arrays that the user's code holds, and takes the number of threads that was asked for."""
    result = compared(own(TABLE[:200], held=jnp.ones(())), tmp_path)
    record = next(iter(result.summary.records.values()))
    records = {record.outcome.trial.id: record._replace(program={**record.program, "threads": "3"})}
    (again,) = replays(replace(result.summary, records=records), records, folder=tmp_path)
    assert "threads" not in again.program
