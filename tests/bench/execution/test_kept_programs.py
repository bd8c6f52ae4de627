"""The programs that a process keeps: told apart by what they compute, bounded, and dropped with the data they hold."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench.execution import single_trial, work
from dlkit.bench.execution.executor import InlineExecutor
from dlkit.bench.execution.work import Work, run_work
from dlkit.bench.identity.replaced import replaced_functions
from dlkit.bench.machine.preparation import prepare_process
from dlkit.bench.spec import planner, programs
from dlkit.bench.spec.bound_plan import BoundPlan
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.programs import require_same_programs

BUDGET = bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=1, tuning_seeds=1, seeds=2)
INLINE = bench.Resources(executor="inline")
SCALE = {"now": 1.0}


def table(rows: int, seed: int = 0) -> bench.Dataset:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, 100)).astype(np.float32)
    return bench.split("table", {"inputs": inputs, "targets": inputs.sum(1)})


def lines(data: bench.Dataset) -> bench.Problem:
    def error(params: Any, batch: Any) -> Any:
        return SCALE["now"] * ((batch["inputs"] @ params - batch["targets"]) ** 2).mean()

    return bench.Problem(
        name="lines",
        init=lambda key: (jax.random.normal(key, (100,)), None),
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"error": error(params, batch)},
        dataset=data,
        metrics={"error": bench.Metric("lower")},
        batch_size=8,
    )


def planned(problem: Any, optimizer: Any = "sgd") -> BoundPlan:
    entries = {"problems": (ProblemChoice(problem=problem),), "optimizers": (Contender(optimizer=optimizer),)}
    return planner.plan(Experiment(name="x", budget=BUDGET, **entries))


def first_work(bound: BoundPlan) -> Work:
    (problem,), (contender,) = bound.plan.problems, bound.plan.contenders
    trial = bound.plan.tuning_trials(problem, contender)[0][0]
    return Work(bound.group(problem, contender, {}), (trial,))


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
def test_25_comparisons_with_a_table_each_take_the_memory_of_a_few() -> None:
    sizes = []
    for seed in range(25):
        data = table(20_000, seed)  # 8 MB
        bench.compare(problems=[lines(data)], optimizers=["sgd"], budget=BUDGET, resources=INLINE, progress=False)
        sizes.append(resident())
    assert max(sizes[5:]) - sizes[4] < 60e6, "eight tables would be more"


@pytest.mark.long
def test_one_process_trains_in_the_precision_that_is_set() -> None:
    """The same problem and optimizer, with JAX's configuration changed in between: nothing of the other is used."""
    prepare_process()
    found = {}
    for is_double in (False, True, False):
        with jax.enable_x64(is_double):
            outcome = run_work(first_work(planned("quadratic")))
            assert f"jax_enable_x64={is_double}" in outcome.program["jax_config"]
            curve = outcome.outcomes[0].curves["suboptimality"].tobytes()
            assert found.setdefault(is_double, curve) == curve
    assert len(set(found.values())) == 2


def test_what_computes_the_same_is_compiled_once_and_dropped_at_the_end() -> None:
    work.forget_programs()
    data, executor = table(40), InlineExecutor()
    for _ in range(2):  # another problem object, of the same functions and data
        executor.submit(0, first_work(planned(lines(data))))
        _, done = executor.next()
        assert isinstance(done, work.Done) and done.outcomes[0].counts
    info = work._program.cache_info()
    assert (info.misses, info.hits, info.currsize) == (1, 1, 1)
    executor.close()
    assert work._program.cache_info().currsize == work._problem_program.cache_info().currsize == 0


def test_a_group_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = first_work(planned(lines(table(40))))
    require_same_programs(asked.group)
    monkeypatch.setitem(SCALE, "now", 2.0)
    work.forget_programs()
    (outcome,) = run_work(asked).outcomes
    assert outcome.status == "failed" and outcome.reason.startswith(
        "problem 'lines': computes something else in this process than where the run was planned"
    )


def test_contenders_of_one_name_are_told_apart_by_what_they_compute() -> None:
    """Names of one's own say nothing: each optimizer and each schedule is traced."""

    def times(factor: float) -> bench.Optimizer:
        return bench.Optimizer("my", lambda learning_rate: optax.sgd(factor * learning_rate), {"learning_rate": 0.1})

    def shaped(factor: float) -> bench.Schedule:
        return bench.Schedule("s", lambda step, horizon: factor)

    rates = {"1": (times(1.0), None), "3": (times(3.0), None), "scheduled": (times(1.0), shaped(3.0))}
    entries = [bench.Contender(optimizer=each, schedule=shape, label=label) for label, (each, shape) in rates.items()]
    result = bench.compare(problems=["quadratic"], optimizers=entries, budget=BUDGET, resources=INLINE, progress=False)
    curves = result.curves().query("seed == 0 and metric == 'suboptimality'")
    ends = {label: float(points.value.iloc[-1]) for label, points in curves.groupby("optimizer")}
    for label, rate in (("1", 0.1), ("3", 0.3), ("scheduled", 0.3)):
        (name,) = (each for each in ends if each.startswith(label))
        alone = bench.train("quadratic", "sgd", steps=4, evaluations=2, learning_rate=rate, seed=0)
        assert ends[name] == pytest.approx(alone.curve["suboptimality"].iloc[-1], rel=1e-5)


def test_what_is_trained_where_it_was_planned_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []
    whole = programs.problem_program
    monkeypatch.setattr(programs, "problem_program", lambda *given: traced.append(given) or whole(*given))
    asked: dict[str, Any] = {"budget": BUDGET, "resources": INLINE, "progress": False}
    bench.compare(problems=[lines(table(40))], optimizers=["sgd", "momentum"], **asked, check=False)
    assert len(traced) == 1


@pytest.mark.long
def test_an_own_optimizers_programs_are_dropped_too() -> None:
    own = bench.Optimizer("own", optax.sgd, {"learning_rate": bench.log_uniform(1e-3, 1e-1)})
    bench.compare(problems=["quadratic"], optimizers=[own], budget=BUDGET, resources=INLINE, progress=False)
    assert work._program.cache_info().currsize == 0


def test_data_are_part_of_what_a_problem_computes() -> None:
    first, second = (planned(lines(table(40, seed))).plan.programs["lines"]["sgd"]["{}"] for seed in (0, 1))
    assert first.problem != second.problem and first.method == second.method == ""


def test_a_registered_pair_has_no_program_and_its_trials_none() -> None:
    plan = planned("quadratic").plan
    assert plan.programs == {}
    (problem,), (contender,) = plan.problems, plan.contenders
    assert "program" not in plan.tuning_trials(problem, contender)[0][0].identity


def test_a_program_that_is_not_planned_is_no_stored_trials() -> None:
    """Static choices that a plan does not have lead to no stored trial, not to one of unknown code."""
    plan = planned(lines(table(40))).plan
    (problem,), (contender,) = plan.problems, plan.contenders
    point = contender.points[0]._replace(static={"nesterov": True})
    assert plan.trial(problem, contender, point, "tuning", 0).identity["program"][0] == "unknown"


def test_functions_that_raise_have_a_program_and_their_trials_say_why() -> None:
    def build(learning_rate: Any) -> Any:
        raise RuntimeError("no such thing")

    own = bench.Optimizer("own", build, {"learning_rate": bench.log_uniform(1e-3, 1e-1)})
    asked: dict[str, Any] = {"budget": BUDGET, "resources": INLINE, "progress": False}
    result = bench.compare(problems=["quadratic"], optimizers=["sgd", own], **asked, check=False)
    assert any("no such thing" in reason for reason in result.failures)
    (first,) = result.summary.plan.programs["quadratic"]["own"].values()
    (second,) = planned("quadratic", own).plan.programs["quadratic"]["own"].values()
    assert first.method != second.method, "what cannot be traced may have been edited where nobody looked"
    (text,) = result.summary.plan.problems[0].unseen
    assert text == (
        "optimizer 'own' has no identity (tracing it raised UserError): its trials are not used again by a later run."
    )


def test_what_calls_python_is_named_beside_the_verdict() -> None:
    def outside(x: Any) -> Any:
        return np.asarray(x) * 2

    def error(params: Any) -> Any:
        called = jax.pure_callback(outside, jax.ShapeDtypeStruct((), jnp.float32), jax.lax.stop_gradient(params[0]))
        return (params**2).sum() + 0.0 * called

    problem = bench.Problem(
        name="calls",
        init=lambda key: (jax.random.normal(key, 2), None),
        loss=lambda params, state, batch, key: (error(params), state),
        evaluate=lambda params, state, batch: {"error": (params**2).sum()},
        dataset=bench.Dataset("none", {}, {}, {}),
        metrics={"error": bench.Metric("lower")},
    )
    plan = planned(problem).plan
    (text,) = plan.problems[0].unseen
    name = "test_what_calls_python_is_named_beside_the_verdict.<locals>.outside"
    assert text.startswith(f"problem 'calls' calls Python while it runs ({name}): its identity has that code, but not")
    result = bench.compare(
        problems=[problem], optimizers=["sgd", "momentum"], budget=BUDGET, resources=INLINE, progress=False
    )
    assert text in " ".join(str(result).split())


def test_training_alone_uses_the_program_of_its_last_seed_again() -> None:
    asked: dict[str, Any] = {"steps": 4, "evaluations": 2, "learning_rate": 0.1}
    work.forget_programs()
    first = bench.train("quadratic", "sgd", **asked)
    again, other = (bench.train("quadratic", "sgd", seed=seed, **asked) for seed in (0, 1))
    assert first.curve.equals(again.curve) and not first.curve.equals(other.curve)
    assert (work._program.cache_info().misses, work._program.cache_info().hits) == (1, 2)


def test_training_alone_takes_another_program_where_anything_but_numbers_differs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[Any] = []

    def instead(program: Any, values: Any, **rest: Any) -> Any:
        used.append(program)
        raise KeyboardInterrupt  # before anything is compiled

    monkeypatch.setattr(single_trial, "train_trial", instead)
    plain: dict[str, Any] = {"steps": 4, "evaluations": 2, "learning_rate": 0.1}
    changes: list[dict[str, Any]] = [
        {"evaluations": 1},
        {"steps": 8},
        {"schedule": "cosine", "final": 0.0},
        {"choices": {"dimension": 9}},
        {"early_stopping": bench.EarlyStopping(patience=1)},
        {"early_stopping": bench.EarlyStopping(patience=2)},
    ]
    for change in [{}, *changes, {"learning_rate": 0.2, "seed": 3}]:
        with pytest.raises(KeyboardInterrupt):
            bench.train("quadratic", "sgd", **plain | change)
    assert used[-1] is used[0] and len({*map(id, used)}) == 1 + len(changes)


def ended(problem: str = "quadratic", optimizer: str = "sgd", **asked: Any) -> float:
    """The last value of a trial's first metric."""
    given = {"steps": 4, "evaluations": 2, "learning_rate": 0.01, **asked}
    return float(bench.train(problem, optimizer, **given).curve.iloc[-1, 1])


@pytest.mark.long
def test_training_alone_reads_a_file_again_that_has_changed(tmp_path: Path) -> None:
    """Of the same name and shape: its means and deviations are constants of the compiled program."""
    file = tmp_path / "table.csv"
    rows = np.random.default_rng(0).normal(size=(60, 2))

    def trained(scale: int) -> float:
        lines = "".join(f"{a:.4f},{b:.4f},{scale * (a + b):.4f}\n" for a, b in rows)
        file.write_text(f"a,b,y\n{lines}")
        return ended("data-file", choices={"path": str(file), "target": "y", "model": "linear"})

    first, other, again = trained(2), trained(5), trained(2)
    assert first == again and other == pytest.approx(2.5 * first, rel=0.2)


def test_a_file_that_changes_while_a_run_goes_on_ends_its_trials_and_not_as_others(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    values = np.random.default_rng(0).normal(size=60)
    file.write_text("a,y\n" + "".join(f"{each:.4f},{each:.4f}\n" for each in values))
    entry = ProblemChoice(problem="data-file", choices={"path": str(file), "target": "y", "model": "linear"})
    asked = first_work(
        planner.plan(Experiment(name="x", budget=BUDGET, problems=(entry,), optimizers=(Contender(optimizer="sgd"),)))
    )
    file.write_text("a,y\n" + "".join(f"{each:.4f},{2 * each:.4f}\n" for each in values))
    (outcome,) = run_work(asked).outcomes
    assert outcome.status == "failed" and outcome.reason.startswith("problem 'data-file': its data have digest ")


@pytest.mark.long
def test_training_alone_sees_that_functions_of_the_libraries_were_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_is, sgd = ended(optimizer="nesterov", momentum=0.9), optax.sgd
    for factor in (2.0, 3.0):

        def faster(learning_rate: Any, *rest: Any, factor: float = factor, **more: Any) -> Any:
            return sgd(factor * learning_rate, *rest, **more)

        rate = factor * 0.01
        expected = ended(optimizer="nesterov", momentum=0.9, learning_rate=rate)
        with monkeypatch.context() as here:
            here.setattr(optax, "sgd", faster)
            assert ended(optimizer="nesterov", momentum=0.9) == pytest.approx(expected, rel=1e-5)
    assert ended(optimizer="nesterov", momentum=0.9) == as_it_is != expected


def test_no_function_is_replaced_as_a_rule_and_jitted_ones_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not replaced_functions()
    monkeypatch.setattr(jax.nn, "relu", jax.jit(lambda x: x))
    monkeypatch.setattr(programs, "problem_program", lambda *given: None)  # trains nothing
    assert [each[:2] for each in replaced_functions()] == [("jax.nn", "relu")]


def test_what_is_replaced_is_seen_anew_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that hold what they held are not searched again: those that do not have to be."""
    mine, other = (lambda x: x), (lambda x: 2 * x)
    assert not replaced_functions()
    for _ in range(2):
        with monkeypatch.context() as here:
            here.setattr(jax.nn, "relu", mine)
            assert [each.function for each in replaced_functions()] == [mine]
            here.setattr(jax.nn, "relu", other)
            assert [each.function for each in replaced_functions()] == [other]
            here.setattr(jax.nn, "of_mine", mine, raising=False)
            assert {each.name for each in replaced_functions()} == {"relu", "of_mine"}
        assert not replaced_functions()
    monkeypatch.setattr(jax.nn, "silu", jax.nn.relu)  # the library's own
    assert not replaced_functions()


@pytest.mark.parametrize("setting", ["jax_random_seed_offset"])
def test_training_alone_sees_the_settings_of_jax(setting: str) -> None:
    found: dict[int, set[float]] = {}
    for value in (0, 7, 0):
        jax.config.update(setting, value)
        try:
            found.setdefault(value, set()).add(ended())
        finally:
            jax.config.update(setting, 0)
    assert len(found[0]) == len(found[7]) == 1 and found[0] != found[7]


@pytest.mark.long
def test_training_alone_takes_static_choices_of_numpy() -> None:
    given = {"optimizer": "adafactor", "problem": "diabetes-linear"}
    assert ended(**given, min_dim_size_to_factor=np.int64(8)) == ended(**given, min_dim_size_to_factor=8)


def test_training_alone_traces_ones_own_functions_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = lines(table(40))
    asked: dict[str, Any] = {"steps": 4, "evaluations": 2, "learning_rate": 0.01}
    before = bench.train(problem, "sgd", **asked)
    monkeypatch.setitem(SCALE, "now", 2.0)
    after = bench.train(problem, "sgd", **asked)
    assert after.curve["error"].iloc[0] == pytest.approx(2 * before.curve["error"].iloc[0], rel=1e-5)
    own = bench.Optimizer("sgd", lambda learning_rate: optax.sgd(SCALE["now"] * learning_rate), {"learning_rate": 0.1})
    doubled = bench.train("quadratic", own, steps=4, evaluations=2)
    monkeypatch.setitem(SCALE, "now", 1.0)
    assert not doubled.curve.equals(bench.train("quadratic", own, steps=4, evaluations=2).curve)
