"""The strict loader: what it reads, and that every mistake is named at once, with its place and the way out."""

import subprocess
import sys
from pathlib import Path

import optax
import pytest

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import OPTIMIZERS, Optimizer
from dlkit.bench.plan.space import Range
from dlkit.bench.spec import planner
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice
from dlkit.bench.spec.toml import load

ROOT = Path(__file__).parents[3]


def write(folder, text):
    path = folder / "spec.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder, text):
    """The lines of the loader's complaint, without the file's name, which each of them must begin with."""
    path = write(folder, text)
    with pytest.raises(UserError) as error:
        load(path)
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


# --- what it reads ---------------------------------------------------------------------------------------------------


def test_the_quickstart_spec():
    experiment = load(ROOT / "experiments" / "quickstart" / "spec.toml")
    assert experiment.name == "quickstart"
    assert [entry.problem for entry in experiment.problems] == ["quadratic", "noisy-quadratic", "digits-mlp"]
    assert [entry.optimizer for entry in experiment.optimizers] == [
        "sgd",
        "momentum",
        "adagrad",
        "rmsprop",
        "adam",
        "sgd+ema",
    ]
    assert experiment.budget == Budget(studies=10, tuning_points=8, tuning_seeds=1, seeds=2, evaluations=20)


@pytest.mark.long
@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.toml")), ids=lambda path: path.parent.name)
def test_every_spec_of_the_repository_can_be_planned(path):
    planner.plan(load(path))


def test_tables_and_names_mean_what_they_say(tmp_path):
    path = write(
        tmp_path,
        """
        problems = [
            "quadratic",
            {problem = "digits-mlp", steps = 40, batch_size = 32, metric = "cross_entropy", target = 1},
        ]
        optimizers = ["adam", {optimizer = "sgd", label = "slow", space = {learning_rate = [1e-4, 1e-2]}}]
        [budget]
        steps = 100
        evaluations = 5
        """,
    )
    experiment = load(path)
    assert experiment == Experiment(
        name=tmp_path.name,
        problems=(
            ProblemChoice(problem="quadratic"),
            ProblemChoice(problem="digits-mlp", steps=40, batch_size=32, metric="cross_entropy", target=1.0),
        ),
        optimizers=(
            Contender(optimizer="adam"),
            Contender(optimizer="sgd", label="slow", space={"learning_rate": [1e-4, 1e-2]}),
        ),
        budget=Budget(steps=100, evaluations=5),
    )
    assert isinstance(experiment.problems[1].target, float)
    problem = experiment.problems[1].load()
    assert (problem.steps, problem.batch_size, problem.metric, problem.target) == (40, 32, "cross_entropy", 1.0)
    assert experiment.optimizers[1].load().space == {"learning_rate": Range(1e-4, 1e-2, "log")}


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_bytes(b"\xef\xbb\xbfproblems = ['quadratic']\noptimizers = ['sgd']\n")
    assert load(path).problems == (ProblemChoice(problem="quadratic"),)


def test_another_metric_drops_the_problems_own_target():
    assert ProblemChoice(problem="digits-mlp").load().target == 0.95
    assert ProblemChoice(problem="digits-mlp", metric="cross_entropy").load().target is None


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_many_mistakes_are_reported_at_once(tmp_path):
    text = """
    nme = "x"
    name = "a/b"
    problems = [
        "quadratc",
        {problem = "digits-mlp", batch_size = 99999, metric = "acuracy", steps = -4, tragets = 1},
        3,
        {},
        {problem = "quadratic", target = nan},
    ]
    optimizers = [
        "adm",
        {optimizer = "adam", space = {learning_rate = [1.0, 0.1], b3 = 1, b1 = true, b2 = 0.5}},
        {optimizer = "sgd", space = {learning_rate = [0, 1]}, label = 3},
        {optimizer = "sgd", space = [1]},
        1.5,
        {optimizer = "sgd", space = {learning_rate = inf}},
    ]
    [budget]
    seeds = 0
    tuning_points = -1
    evaluations = true
    tuning_seeds = 1.0
    step = 3
    """
    expected = [
        "unknown key 'nme'; did you mean 'name'?",
        "unknown key 'budget.step'; did you mean 'budget.steps'?",
        "budget.evaluations: expected a whole number, got True",
        "budget.tuning_seeds: expected a whole number, got 1.0; write tuning_seeds = 1",
        "budget.tuning_points must be a whole number of at least 1, got -1",
        "budget.seeds must be a whole number of at least 1, got 0",
        "name: expected a plain name for the run's folder, got 'a/b'",
        "problems[0]: no problem 'quadratc'; did you mean 'quadratic'?",
        "unknown key 'problems[1].tragets'; did you mean 'problems[1].target'?",
        "problems[1].steps: problem 'digits-mlp': steps must be at least 1, got -4",
        "problems[1].batch_size: problem 'digits-mlp': batch_size must lie between 1 and the 1079 training examples, "
        "got 99999",
        "problems[1].metric: problem 'digits-mlp': no metric 'acuracy'; did you mean 'accuracy'?",
        "problems[2]: expected a name or a table such as {problem = 'quadratic'}, got 3",
        "problems[3]: missing key 'problem'",
        "problems[4].target: expected a finite number, got nan",
        "optimizers[0]: no optimizer 'adm'; did you mean 'adam'?",
        "optimizers[1].space: optimizer 'adam', hyperparameter 'learning_rate': a range needs finite bounds, low < "
        "high, but came as [1.0, 0.1]; write [0.1, 1.0]",
        "optimizers[1].space: optimizer 'adam': no hyperparameter 'b3'; expected one of 'b1', 'b2', 'learning_rate'",
        "optimizers[1].space: optimizer 'adam', hyperparameter 'b1': expected a number, or two numbers [low, high], "
        "got True",
        "optimizers[2].label: expected a text, got 3",
        "optimizers[2].space: optimizer 'sgd', hyperparameter 'learning_rate': a log-uniform range needs low > 0, but "
        "came as [0.0, 1.0]; write [0.001, 1], or the scale 'linear'",
        "optimizers[3].space: expected a table, got [1]",
        "optimizers[4]: expected a name or a table such as {optimizer = 'adam'}, got 1.5",
        "optimizers[5].space: optimizer 'sgd', hyperparameter 'learning_rate': expected a number, or two numbers "
        "[low, high], got inf",
    ]
    assert mistakes(tmp_path, text) == expected


GOOD = {"name": '"run"', "problems": '["quadratic"]', "optimizers": '["sgd"]', "budget": "{seeds = 3}"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("problems", "[]", "problems: the list is empty; name at least one"),
        ("optimizers", "[]", "optimizers: the list is empty; name at least one"),
        ("problems", '"quadratic"', "problems: expected a list, got 'quadratic'"),
        ("optimizers", '{optimizer = "sgd"}', "optimizers: expected a list, got {'optimizer': 'sgd'}"),
        ("problems", None, "missing key 'problems'"),
        ("optimizers", None, "missing key 'optimizers'"),
        ("problems", "[{problem = 3}]", "problems[0].problem: expected a text, got 3"),
        ("problems", "[[]]", "problems[0]: expected a name or a table"),
        (
            "problems",
            '[{problem = "quadratic", batch_size = 4}]',
            "problems[0].batch_size: problem 'quadratic': has no",
        ),
        (
            "problems",
            '[{problem = "quadratic", target = inf}]',
            "problems[0].target: expected a finite number, got inf",
        ),
        (
            "problems",
            '[{problem = "quadratic", target = true}]',
            "problems[0].target: expected a finite number, got True",
        ),
        (
            "problems",
            '[{problem = "quadratic", target = "1"}]',
            "problems[0].target: expected a finite number, got '1'",
        ),
        (
            "problems",
            '[{problem = "quadratic", steps = 1e3}]',
            "problems[0].steps: expected a whole number, got 1000.0",
        ),
        (
            "problems",
            '[{problem = "digits-mlp", batch_size = 0}]',
            "problems[0].batch_size: problem 'digits-mlp': batch",
        ),
        (
            "problems",
            f'[{{problem = "quadratic", target = 1{"0" * 400}}}]',
            "problems[0].target: expected a finite number",
        ),
        ("optimizers", "[{}]", "optimizers[0]: missing key 'optimizer'"),
        (
            "optimizers",
            '[{optimizer = "sgd", space = {momentum = 1}}]',
            "no hyperparameter 'momentum'; expected one of",
        ),
        ("optimizers", '[{optimizer = "sgd", space = {learning_rate = [1]}}]', "two numbers [low, high], got [1]"),
        (
            "optimizers",
            '[{optimizer = "sgd", space = {learning_rate = [1, "2"]}}]',
            "two numbers [low, high], got [1, '2']",
        ),
        ("problems", '[{problem = "quadratic", margin = "small"}]', "problems[0].margin: expected a finite number"),
        ("budget", "{seeds = 0}", "budget.seeds must be a whole number of at least 1, got 0"),
        ("budget", "{steps = -5}", "budget.steps must be a whole number of at least 1, got -5"),
        ("budget", "{evaluations = false}", "budget.evaluations: expected a whole number, got False"),
        ("budget", '{seeds = "ten"}', "budget.seeds: expected a whole number, got 'ten'"),
        ("budget", "{tuning_points = nan}", "budget.tuning_points: expected a whole number, got nan"),
        ("budget", "{steps = 2024-01-01}", "budget.steps: expected a whole number, got datetime.date(2024, 1, 1)"),
        ("budget", "3", "budget: expected a table, got 3"),
        (
            "budget",
            "{steps = 50, evaluations = 20}",
            "the budget: 50 steps cannot be cut into 20 equal evaluations; use 40",
        ),
        ("budget", '{tuner = "haltn"}', "budget.tuner: no tuner 'haltn'; did you mean 'halton'?"),
        ("budget", "{tuner = 3}", "budget.tuner: expected a text, got 3"),
        ("budget", "{tuning_seconds = 0}", "budget.tuning_seconds must be a number above 0, got 0.0"),
        ("budget", "{tuning_seconds = inf}", "budget.tuning_seconds: expected a finite number, got inf"),
        (
            "budget",
            "{tuning_points_per_dimension = 0}",
            "tuning_points_per_dimension must be a whole number of at least 1",
        ),
        ("budget", '{objective = "finl"}', "budget.objective: no objective 'finl'; did you mean 'final'?"),
        ("budget", "{objective = 1}", "budget.objective: expected a text, got 1"),
        (
            "budget",
            '{objective = "steps", halving = 2}',
            "budget: steps to the target need trials of full length; leave out halving, or give objective 'area'",
        ),
        (
            "budget",
            '{tuner = "zoom", halving = 2}',
            "budget: halving needs all points before any is trained; leave out halving or tuner 'zoom'",
        ),
        (
            "budget",
            '{tuner = "zoom", tuning_seconds = 2}',
            "budget: zoom spreads half of its points first; give tuning_points, not tuning_seconds",
        ),
        ("budget", '{tuner = "zoom", tuning_seeds = 501}', "budget.tuning_seeds must be at most 500, got 501"),
        ("budget", "{studies = 0}", "budget.studies must be a whole number of at least 1, got 0"),
        ("budget", "{tuning_seeds = 1001}", "budget.tuning_seeds must be at most 1000, got 1001"),
        ("budget", "{seeds = 1001}", "budget.seeds must be at most 1000, got 1001"),
        ("budget", "{first_study = -1}", "budget.first_study must be a whole number from 0 to 999999, got -1"),
        ("budget", "{first_study = 0.5}", "budget.first_study: expected a whole number, got 0.5"),
        ("optimizers", '[{optimizer = "sgd", draw = -1}]', "optimizers[0].draw: expected a whole number of at least 0"),
        ("optimizers", '[{optimizer = "sgd", draw = "b"}]', "optimizers[0].draw: expected a whole number, got 'b'"),
        ("budget", "{halving = 1}", "budget.halving must be at least 2"),
        ("budget", "{halvign = 2}", "unknown key 'budget.halvign'; did you mean 'budget.halving'?"),
        ("budget", '{tuner = "grid", grid = 5}', "budget.grid: expected a table, got 5"),
        ("budget", '{tuner = "grid", grid = {learning_rate = 0}}', "budget.grid.learning_rate must be a whole number"),
        ("budget", "{grid = {learning_rate = 3}}", "budget.grid is for tuner 'grid', not for tuner 'halton'"),
        (
            "budget",
            "{tuning_points = 4, tuning_seconds = 2.5}",
            "budget: give one of tuning_points, tuning_points_per_dimension, tuning_seconds, not tuning_points = 4, "
            "tuning_seconds = 2.5",
        ),
        ("budget", '{tuner = "grid", tuning_seconds = 2}', "a grid is laid before anything runs; give tuning_points"),
        ("budget", '{tuner = "optuna", halving = 2}', "leave out halving or tuner 'optuna'"),
        ("budget", "{tuning_seconds = 2, halving = 2}", "leave out halving or tuning_seconds"),
        ("name", '""', "name: expected a plain name for the run's folder, got ''"),
        ("name", '"."', "name: expected a plain name"),
        ("name", '".."', "name: expected a plain name"),
        ("name", '"/tmp/x"', "name: expected a plain name"),
        ("name", '"x/"', "name: expected a plain name"),
        ("name", r'"a\u0000b"', "name: expected a plain name"),
        ("name", r'"a\nb"', "name: expected a plain name"),
        ("name", "3", "name: expected a text, got 3"),
    ],
)
def test_one_mistake(tmp_path, key, value, message):
    entries = {**GOOD, key: value}
    load(write(tmp_path, "\n".join(f"{name} = {text}" for name, text in GOOD.items())))
    lines = mistakes(tmp_path, "\n".join(f"{name} = {text}" for name, text in entries.items() if text is not None))
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"problems = [", "not valid TOML"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"problems = ['\xff']", "not UTF-8 text"),
        (b"a = " + b"1" * 5000, "not valid TOML"),  # longer than Python turns into a number
        (b"a = " + b"[" * 5000, "not valid TOML"),  # deeper than Python's stack
        (b"", "missing key 'problems'"),
    ],
)
def test_files_that_are_no_specs(tmp_path, content, message):
    path = tmp_path / "spec.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.toml: no such file; give the path of a spec"):
        load(tmp_path / "nothing.toml")
    with pytest.raises(UserError, match=r"cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"cannot be read: Not a directory"):
        load(write(tmp_path, "") / "spec.toml")


def test_how_to_tune_can_be_said(tmp_path):
    text = "problems = ['quadratic']\noptimizers = ['adam']\n[budget]\n"
    every = (
        'tuner = "grid"\ntuning_points_per_dimension = 3\nstudies = 2\nhalving = 3\n[budget.grid]\nlearning_rate = 4'
    )
    budget = load(write(tmp_path, text + every)).budget
    assert budget == Budget(
        tuner="grid", tuning_points_per_dimension=3, studies=2, halving=3, grid={"learning_rate": 4}
    )
    assert budget.tuning_points is None
    asked = load(write(tmp_path, text + 'tuner = "optuna"\ntuning_seconds = 60\ntuning_batch = 8')).budget
    assert (asked.tuning_seconds, asked.tuning_batch, asked.tuning_points) == (60.0, 8, None)


# --- budgets and entries of one's own --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "evaluations", "suggested"), [(50, 20, (40, 60)), (7, 20, (20, 40)), (101, 10, (100, 110))]
)
def test_steps_that_cannot_be_cut_suggest_what_can(steps, evaluations, suggested):
    with pytest.raises(UserError) as error:
        Budget(evaluations=evaluations).steps_for("problem 'x'", steps)
    below, above = suggested
    assert str(error.value).startswith(f"problem 'x': {steps} steps cannot be cut into {evaluations} equal evaluations")
    assert f"use {below} or {above} steps" in str(error.value)
    for good in suggested:
        assert Budget(evaluations=evaluations).steps_for("problem 'x'", good) == good


def test_the_budgets_steps_come_first():
    assert Budget(steps=100).steps_for("x", 77) == 100


def test_every_wrong_number_of_a_budget_is_reported():
    with pytest.raises(UserError) as error:
        Budget(steps=0, evaluations=2.0, tuning_points=True, seeds=-1)
    assert [line.split()[0] for line in str(error.value).splitlines()] == [
        "budget.steps",
        "budget.evaluations",
        "budget.tuning_points",
        "budget.seeds",
    ]


def test_functions_given_in_place_of_what_they_return():
    with pytest.raises(UserError, match=r"expected an optimizer's name or a bench.Optimizer, got .*bench\.Optimizer\("):
        Contender(optimizer=optax.adam(1e-3)).load()
    with pytest.raises(
        UserError, match=r"expected a problem's name, a bench.Problem or a function that makes one, got 3;"
    ):
        ProblemChoice(problem=3).load()
    with pytest.raises(UserError, match="no optimizer 'adamm'; did you mean 'adam'"):
        Contender(optimizer="adamm").load()


def test_an_own_optimizers_space_is_narrowed_too():
    own = Optimizer("own", optax.sgd, {"learning_rate": Range(0.1, 1.0, "log")})
    assert Contender(optimizer=own, space={"learning_rate": 0.5}).load().space == {"learning_rate": 0.5}
    with pytest.raises(UserError, match="optimizer 'own': no hyperparameter 'lr'; did you mean 'learning_rate'"):
        Contender(optimizer=own, space={"lr": 0.5}).load()


def test_loading_an_entry_changes_nothing_registered():
    before = dict(OPTIMIZERS["adam"].space)
    Contender(optimizer="adam", space={"b1": 0.9}).load()
    assert dict(OPTIMIZERS["adam"].space) == before


# --- through the command line ----------------------------------------------------------------------------------------


def dlkit(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", "from dlkit.bench.cli import main; main()", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "", "HOME": str(folder), "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.long
def test_the_command_line_reports_every_mistake_and_leaves_nothing_behind(tmp_path):
    write(tmp_path, 'problems = ["quadratc"]\noptimizers = ["adm"]\nname = "x"\n')
    process = dlkit(tmp_path, "run", "spec.toml")
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.splitlines() == [
        "error: spec.toml: problems[0]: no problem 'quadratc'; did you mean 'quadratic'?",
        "error: spec.toml: optimizers[0]: no optimizer 'adm'; did you mean 'adam'?",
    ]
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_the_command_line_reports_what_only_the_plan_shows(tmp_path):
    write(tmp_path, 'problems = ["quadratic"]\noptimizers = ["adam", "adam"]\n[budget]\nevaluations = 7\n')
    process = dlkit(tmp_path, "run", "spec.toml")
    assert process.returncode == 2
    assert process.stderr.splitlines() == [
        "error: problem 'quadratic': 400 steps cannot be cut into 7 equal evaluations; use 399 or 406 steps, or other "
        "evaluations",
        "error: optimizers: 'adam' is there more than once; give each a label of its own",
    ]
    assert not (tmp_path / "runs").exists()


def test_a_text_in_the_place_of_a_factors_list_is_one_mistake(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text('problems = ["quadratic"]\noptimizers = ["sgd"]\n[factors]\norder = "iid"\n')
    with pytest.raises(UserError) as caught:
        load(path)
    (mistake,) = str(caught.value).splitlines()
    assert mistake.endswith("factors.order: expected a list, got 'iid'; write order = [\"iid\"]")


def test_mistakes_in_factors_are_named_with_their_place(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(
        'problems = ["quadratic"]\noptimizers = ["sgd"]\n'
        '[factors]\nschedule = ["cosine", 3, "cosin"]\nbatch_size = [1.5]\norder = ["fixd"]\nwidth = [8]\n'
    )
    with pytest.raises(UserError) as caught:
        load(path)
    assert [line.partition("spec.toml: ")[2] for line in str(caught.value).splitlines()] == [
        "factors.schedule[1]: expected a text, got 3",
        "factors.schedule[2]: no schedule 'cosin'; did you mean 'cosine'?",
        "factors.batch_size[0]: expected a whole number, got 1.5",
        "factors.order[0]: no order 'fixd'; did you mean 'fixed'?",
        "factors.width: no factor 'width'; expected one of 'batch_size', 'condition', 'dimension', "
        "'early_stopping', 'eigenvalues', 'order', 'schedule', 'seed'",
    ]
