"""The Python API: compare, train, replay, own optimizers and problems."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

from dlkit import bench
from dlkit.bench.analysis.answer import answer
from dlkit.bench.store.example_scores import packed
from tests.bench.rewriting import rewrite

INLINE = bench.Resources(executor="inline")

BUDGET = bench.Budget(steps=20, evaluations=4, studies=1, tuning_points=2, tuning_seeds=1, seeds=6)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> bench.Result:
    folder = tmp_path_factory.mktemp("run")
    return bench.compare(
        problems=["digits-mlp", "quadratic"],
        optimizers=["sgd", "adam"],
        budget=BUDGET,
        folder=folder,
        executor="inline",
    )


def test_printing_shows_the_answer_and_tables_where_they_are_asked_for(
    result: bench.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(result.summary)
    result.show()
    for text in (str(result), capsys.readouterr().out):
        for sentence in (found.headline, *(row.sentence for row in found.rows), *found.caveats):
            assert sentence in " ".join(text.split())
        assert "tuned to" not in text and text.rstrip().endswith("tables: result.show(tables=True)")
    result.show(tables=True)
    text = capsys.readouterr().out
    for sentence in result.verdicts.values():
        assert sentence in " ".join(text.split())
    for word in ("digits-mlp", "quadratic", "sgd", "adam", "hits", "diverged", "tuned to", "learning_rate"):
        assert word in text


def test_train_is_the_trial_of_a_comparison(result: bench.Result) -> None:
    trials = result.trials()
    final = trials[(trials.problem == "digits-mlp") & (trials.optimizer == "adam") & (trials.stage == "final")]
    row = final[final.seed == 2].iloc[0]
    model = bench.train(
        "digits-mlp", "adam", seed=2, steps=20, evaluations=4, learning_rate=row.learning_rate, b1=row.b1, b2=row.b2
    )
    curves = result.curves()
    chosen = curves[(curves.problem == "digits-mlp") & (curves.optimizer == "adam") & (curves.seed == 2)]
    expected = chosen[chosen.metric == "accuracy"].value.to_numpy(np.float32)
    assert model.curve["accuracy"].to_numpy(np.float32).tobytes() == expected.tobytes()
    assert model.status == "finished" and set(model.test) == {"accuracy", "cross_entropy"}
    logits = jnp.asarray(0)
    assert jax.tree.leaves(model.params)[0].dtype == jnp.float32 and logits.shape == ()


@pytest.mark.long
def test_train_takes_the_defaults_of_the_function_that_builds() -> None:
    settings: dict[str, Any] = {"seed": 0, "steps": 20, "evaluations": 4, "learning_rate": 1e-3}
    short = bench.train("quadratic", "adam", **settings)
    long = bench.train("quadratic", "adam", **settings, b1=0.9, b2=0.999)  # optax.adam's
    other = bench.train("quadratic", "adam", **settings, b1=0.5)
    assert short.curve.equals(long.curve) and not short.curve.equals(other.curve)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["'sgd'", "'learning_rate'", "needs a number"]),
        ({"learning_rat": 0.1}, ["did you mean 'learning_rate'", "needs a number"]),
        ({"learning_rate": "fast"}, ["'fast'"]),
        ({"learning_rate": float("nan")}, ["'learning_rate' needs a finite number, got nan"]),
        ({"learning_rate": 0.1, "seed": -1}, ["seed"]),
        ({"learning_rate": 0.1, "steps": 30}, ["20 equal evaluations", "40"]),
    ],
)
def test_train_says_what_does_not_fit(arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(bench.UserError) as caught:
        bench.train("quadratic", "sgd", **arguments)
    assert all(word in str(caught.value) for word in words)


def test_train_says_how_an_optax_function_becomes_an_optimizer() -> None:
    with pytest.raises(
        bench.UserError, match=r"expected an optimizer's name or a bench.Optimizer.*bench\.Optimizer\('mine'"
    ):
        bench.train("quadratic", optax.sgd(0.1))  # type: ignore[arg-type]


@pytest.mark.long
def test_every_trial_replays_bit_for_bit(result: bench.Result) -> None:
    reopened = bench.open_run(result.folder)
    for trial in reopened.trials().trial:
        replay = reopened.replay(trial)
        assert replay.exact and replay.largest == {} and replay.program == {}


@pytest.mark.long
def test_a_run_with_rungs_studies_and_wider_spaces_replays_and_opens(tmp_path: Path) -> None:
    low = bench.Optimizer("low", optax.sgd, {"learning_rate": bench.log_uniform(1e-5, 1e-4)})
    budget = bench.Budget(
        steps=20, evaluations=4, tuner="random", tuning_points=7, tuning_seeds=1, studies=2, halving=2, seeds=2
    )
    asked: dict[str, Any] = {
        "problems": ["quadratic"],
        "optimizers": ["sgd", low],
        "budget": budget,
        "folder": tmp_path,
        "resources": INLINE,
    }
    first = bench.compare(**asked, expand=True)
    widened = first.table().set_index("optimizer").widened
    assert widened["low"].startswith("widened: learning_rate [1e-05, 0.0001] → [1e-05, 0.")
    frame = first.trials()
    assert set(frame.study) == {0, 1} and set(frame.until.dropna()) == {2}
    for stage, until in (("tuning", 2), ("tuning", np.nan), ("final", np.nan)):
        same = frame[(frame.stage == stage) & (frame.until.eq(until) | (frame.until.isna() & np.isnan(until)))]
        assert first.replay(same.trial.iloc[-1]).exact
    assert str(bench.open_run(tmp_path)) == str(first)
    assert "2 studies" in str(first) and "low" in str(first)
    base = bench.compare(**asked)
    assert (base.table().widened == "").all() and len(base.trials()) < len(frame)
    assert str(bench.compare(**asked, expand=True)) == str(first)


def test_a_changed_bit_is_found(result: bench.Result, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(result.folder, folder)
    trial = result.trials().trial[0]
    curve = result.summary.records[trial].outcome.curves["accuracy"]

    def change(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] != trial:
            return {}
        before = curve.tobytes()
        assert row["curves"].count(before) == 1
        after = np.append(curve[:-1], np.nextafter(curve[-1], np.float32(2)))
        return {"curves": row["curves"].replace(before, after.astype("<f4").tobytes())}

    rewrite(folder, "trial", change)
    replay = bench.open_run(folder).replay(trial)
    assert not replay.exact and set(replay.largest) == {"accuracy"} and 0 < replay.largest["accuracy"] < 1e-6


def test_changed_scores_of_examples_and_changed_costs_are_found(result: bench.Result, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(result.folder, folder)
    trials = result.trials()
    trial = trials[(trials.problem == "digits-mlp") & (trials.stage == "final")].trial.iloc[0]
    outcome = result.summary.records[trial].outcome
    assert outcome.example_scores is not None and outcome.gradients is not None
    scores, gradients = outcome.example_scores.copy(), outcome.gradients.copy()
    scores[0], gradients[-1] = 1 - scores[0], gradients[-1] + 2
    form, blob = packed(scores)[1:]
    changed = {"form": form, "scores": blob, "gradients": gradients.astype("<f8").tobytes()}
    rewrite(folder, "trial", lambda row: changed if row["id"] == trial else {})
    replay = bench.open_run(folder).replay(trial)
    assert not replay.exact and replay.largest == {"example scores": 1.0, "gradients": 2.0}


def test_replay_asks_for_an_id_that_is_there(result: bench.Result) -> None:
    with pytest.raises(bench.UserError, match="no trial starts with 'zz'"):
        result.replay("zz")
    with pytest.raises(bench.UserError, match="trials start with ''"):
        result.replay("")


def signed(learning_rate: Any) -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_sign(), optax.scale_by_learning_rate(learning_rate))


@pytest.mark.long
def test_own_optimizer_and_problem_in_a_run_that_resumes(tmp_path: Path) -> None:
    mine = bench.Optimizer("signed", signed, {"learning_rate": bench.log_uniform(1e-4, 1e-1)})
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 3)).astype(np.float32)
    dataset = bench.split("plane", {"inputs": inputs, "targets": inputs @ np.array([1, -2, 3], np.float32)})

    def error(params: Any, batch: Any) -> Any:
        return ((batch["inputs"] @ params - batch["targets"]) ** 2).mean()

    problem = bench.Problem(
        name="plane",
        init=lambda key: (jax.random.normal(key, (3,)), None),
        loss=lambda params, state, batch, key: (error(params, batch), state),
        evaluate=lambda params, state, batch: {"mse": error(params, batch)},
        dataset=dataset,
        metrics={"mse": bench.Metric("lower", "log")},
        batch_size=32,
    )
    asked: dict[str, Any] = {
        "problems": [problem],
        "optimizers": ["sgd", mine],
        "budget": BUDGET,
        "folder": tmp_path / "r",
    }
    result = bench.compare(**asked, resources=bench.Resources(workers=1))
    again = bench.compare(**asked, resources=INLINE)
    assert result.curves().equals(again.curves())
    assert "sgd" in result.summary.comparisons[0].targets.source, "no target declared: the baseline's"
    manifest = result.summary.manifest
    assert any("def signed" in text for files in manifest["sources"].values() for text in files.values())
    trial = again.summary.comparisons[0].results[0].trials[0].id
    assert again.replay(trial).exact
    assert bench.open_run(tmp_path / "r").replay(trial).exact, "by what the folder keeps"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"problems": []}, ["problems", "empty"]),
        ({"optimizers": []}, ["optimizers", "empty"]),
        ({"optimizers": ["adm"]}, ["did you mean 'adam'"]),
        ({"optimizers": ["sgd", "sgd"]}, ["'sgd'", "more than once"]),
        ({"problems": ["digit-mlp"], "optimizers": ["adm"]}, ["did you mean 'digits-mlp'", "did you mean 'adam'"]),
        (
            {"budget": {"seeds": 3}, "settling": True},
            ["budget must be a bench.Budget", "settling must be a bench.Settling"],
        ),
        (
            {"expand": 1, "timing": None},
            ["expand must be true or false, got 1", "timing must be true or false, got None"],
        ),
        ({"settling": bench.Settling()}, ["settling: 'sgd' has no other contender"]),
        (
            {"problems": [bench.ProblemChoice(problem="quadratic", margin=0.5)]},
            ["'quadratic'", "ratio above 1", "got 0.5"],
        ),
        ({"executor": "inline"}, ["resources has an executor"]),
        ({"resources": None, "executor": "lightning"}, ["resources.executor", "'lightning'"]),
    ],
)
def test_compare_refuses_what_cannot_work(arguments: dict[str, Any], words: list[str]) -> None:
    asked: dict[str, Any] = {"problems": ["quadratic"], "optimizers": ["sgd"], "budget": BUDGET, "resources": INLINE}
    with pytest.raises(bench.UserError) as caught:
        bench.compare(**(asked | arguments))
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bench.Budget(seeds=0), ["budget.seeds", "0"]),
        (lambda: bench.Budget(steps=True), ["budget.steps"]),
        (lambda: bench.Budget(steps=50, evaluations=20), ["40", "60"]),
        (lambda: bench.Optimizer("", optax.sgd, {}), ["name"]),
        (lambda: bench.Optimizer("x", 3, {}), ["'x'", "build"]),  # type: ignore[arg-type]
        (lambda: bench.Optimizer("x", optax.sgd, {"a": "b"}), ["space['a']"]),  # type: ignore[dict-item]
        (lambda: bench.Optimizer("x", optax.sgd, {"a": 1.0}, {"a": (1,)}), ["'a'", "both"]),
        (lambda: bench.Optimizer("x", optax.sgd, {}, {"a": ()}), ["static['a']"]),
        (lambda: bench.Optimizer("x", optax.sgd, {}, {"a": (object(),)}), ["static['a']"]),
        (lambda: bench.Metric("up"), ["direction", "'up'"]),  # type: ignore[arg-type]
    ],
)
def test_definitions_refuse_what_cannot_work(make: Any, words: list[str]) -> None:
    with pytest.raises(bench.UserError) as caught:
        make()
    assert all(word in str(caught.value) for word in words), caught.value


def test_frames_are_tidy(result: bench.Result) -> None:
    table = result.table()
    assert isinstance(table, pd.DataFrame) and len(table) == 4
    for _, row in table.iterrows():
        finals = result.curves()
        metric = {"digits-mlp": "accuracy", "quadratic": "suboptimality"}[row.problem]
        chosen = finals[
            (finals.problem == row.problem) & (finals.optimizer == row.optimizer) & (finals.metric == metric)
        ]
        values = chosen[chosen.step == 20].value
        assert len(values) == 6
        if row.problem == "digits-mlp":
            assert row.value == pytest.approx(values.median(), rel=1e-6)
        else:
            assert np.log10(row.value) == pytest.approx(np.log10(values).median(), rel=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "given", "names"),
    [
        ("adam+sam", {}, ("'learning_rate' (0.0001 to 1)", "'rho' (")),
        ("sgd", {}, ("'learning_rate' (",)),
        ("sgd+clip", {"learning_rate": 0.1}, ("'max_norm' (",)),
        ("lion+lookahead", {"learning_rate": 0.1, "b1": 0.9}, ("'slow_step_size' (",)),
    ],
)
def test_hyperparameters_that_are_missing_are_named_with_their_ranges(optimizer, given, names) -> None:
    with pytest.raises(bench.UserError, match="needs a number for") as refused:
        bench.train("quadratic", optimizer, steps=4, evaluations=1, **given)
    assert all(name in str(refused.value) for name in names) and "_empty" not in str(refused.value)
    assert not any(f"'{name}' (" in str(refused.value) for name in given)


@pytest.mark.parametrize("folder", [None, 3, []])
def test_a_folder_that_is_none_is_said(folder: Any) -> None:
    with pytest.raises(bench.UserError, match=r"bench.open_run takes a run's folder, such as 'runs/quickstart', got"):
        bench.open_run(folder)


@pytest.mark.long
def test_a_folder_is_the_one_that_was_named_wherever_ones_own_code_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    def build(learning_rate: float) -> optax.GradientTransformation:
        os.chdir(tmp_path / "elsewhere")
        return optax.sgd(learning_rate)

    moving = bench.Optimizer("moving", build, {"learning_rate": bench.log_uniform(0.01, 0.1)})
    budget = bench.Budget(steps=4, evaluations=2, studies=1, tuning_points=1, seeds=1)
    resources = bench.Resources(executor="inline")
    result = bench.compare(
        problems=["quadratic"], optimizers=[moving], budget=budget, resources=resources, folder="mine", progress=False
    )
    assert (tmp_path / "mine" / "store.sqlite").is_file() and not list((tmp_path / "elsewhere").iterdir())
    assert result.folder is not None and bench.open_run(result.folder).summary.missing == 0
