"""What nobody can mean is refused before anything runs, with what to do; what lies just inside is not."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlkit import bench
from dlkit.bench.data import split
from dlkit.bench.optimizers import OPTIMIZERS
from dlkit.bench.optimizers.schedules import SCHEDULES, Schedule
from dlkit.bench.spec.planner import plan
from dlkit.bench.spec.toml import load

TABLE = split("table", {"inputs": np.arange(40.0).reshape(20, 2), "targets": np.arange(20.0)})
LABELS = {  # two that look the same
    "trailing space": ("mine", "mine "),
    "inner spaces": ("my own", "my  own"),
    "no-break space": ("my own", "my\u00a0own"),
    "composed": ("caf\u00e9", "cafe\u0301"),
    "zero width": ("mine", "mi\u200bne"),
    "soft hyphen": ("mine", "mi\u00adne"),
    "variation selector": ("mine", "mine\ufe0e"),
    "micro and mu": ("\u00b5P", "\u03bcP"),
    "ligature": ("file", "\ufb01le"),
}


def own_problem(metric, *, start=0.5, target=None, name="own", margin=None, called="accuracy"):
    """A problem whose only metric is `start` before training."""

    def evaluate(params, state, batch):
        return {called: start + 0.0 * jnp.sum(params["weight"])}

    def loss(params, state, batch, key):
        return jnp.mean((batch["inputs"] @ params["weight"] - batch["targets"]) ** 2), state

    return bench.Problem(
        name=name,
        init=lambda key: ({"weight": jnp.zeros(2)}, None),
        loss=loss,
        evaluate=evaluate,
        dataset=TABLE,
        metrics={called: metric},
        steps=40,
        target=target,
        margin=margin,
    )


def mistakes(problems=("quadratic",), optimizers=("sgd",), **more):
    """What the planner complains of, by line; nothing if it takes it."""
    entries = [
        each if isinstance(each, bench.ProblemChoice) else bench.ProblemChoice(problem=each) for each in problems
    ]
    contenders = [each if isinstance(each, bench.Contender) else bench.Contender(optimizer=each) for each in optimizers]
    budget = bench.Budget(steps=40, tuning_points=2, seeds=3, evaluations=4)
    asked = bench.Experiment(name="x", problems=tuple(entries), optimizers=tuple(contenders), budget=budget, **more)
    try:
        plan(asked)
    except bench.UserError as error:
        return str(error).splitlines()
    return []


def one(*found):
    """The only mistake."""
    (line,) = mistakes(*found)
    return line


def of_target(problem, target):
    return mistakes([bench.ProblemChoice(problem=problem, target=target)])


def of_space(optimizer, space, **more):
    return mistakes(optimizers=[bench.Contender(optimizer=optimizer, space=space, **more)])


# --- targets ---------------------------------------------------------------------------------------------------------


def test_an_accuracy_in_percent():
    (line,) = of_target("digits-mlp", 95)
    assert "digits-mlp" in line and "accuracy" in line and "between 0 and 1" in line and "did you mean 0.95?" in line


@pytest.mark.parametrize("target", [0.95, 1.0, [0.5, 1]])
def test_accuracies_that_can_be_meant(target):
    assert not of_target("digits-mlp", target)


def test_every_rung_of_a_ladder_is_looked_at():
    assert "did you mean 0.9?" in of_target("digits-mlp", [0.5, 90])[0]


def test_a_loss_below_its_least_value():
    choice = bench.ProblemChoice(problem="digits-mlp", metric="cross_entropy", target=-0.1)
    assert "cross_entropy" in one([choice]) and "at least 0" in one([choice])


@pytest.mark.parametrize("target", [-1e-3, 0])
def test_a_target_of_a_metric_of_ratios_is_positive(target):
    (line,) = of_target("quadratic", target)
    assert "quadratic" in line and "suboptimality" in line and "above 0" in line
    assert not of_target("quadratic", 1e-30)


def test_an_own_problems_own_target_counts_too():
    bounded = bench.Metric("higher", least=0, most=1)
    assert "did you mean 0.95?" in one([own_problem(bounded, target=95)])
    assert not mistakes([own_problem(bounded, target=0.95)])


def test_an_own_accuracy_without_bounds_is_judged_by_what_it_is_before_training():
    share, percent = own_problem(bench.Metric("higher")), own_problem(bench.Metric("higher"), start=9.0)
    (line,) = of_target(share, 95)
    assert "'own'" in line and "did you mean 0.95?" in line and "most=100" in line
    assert not of_target(percent, 95)
    assert not of_target(share, 0.95)


@pytest.mark.parametrize("called", ["Accuracy@1 (%)", "accuracy_percent"])
def test_a_percentage_by_name_may_start_below_1(called):
    assert not of_target(own_problem(bench.Metric("higher"), called=called), 95)
    assert not of_target(own_problem(bench.Metric("higher", label=called)), 95)


def test_of_an_error_any_target_can_be_meant():
    assert not of_target(own_problem(bench.Metric("lower"), called="inaccuracy"), 2)


def test_an_own_accuracy_in_percent_can_say_so():
    in_percent = own_problem(bench.Metric("higher", least=0, most=100))
    assert not of_target(in_percent, 95)
    assert "between 0 and 100" in of_target(in_percent, 101)[0]


def test_a_margin_as_wide_as_the_metric():
    choice = bench.ProblemChoice(problem="digits-mlp", margin=5)
    assert "did you mean 0.05?" in one([choice])
    assert not mistakes([bench.ProblemChoice(problem="digits-mlp", margin=0.05)])
    (line,) = mistakes(["digits-mlp"], ["sgd", "adam"], settling=bench.Settling(margin=5))
    assert "settling.margin" in line and "did you mean 0.05?" in line


@pytest.mark.parametrize("bounds", [{"least": 1, "most": 0}, {"least": "none"}, {"most": float("inf")}])
def test_bounds_that_are_none(bounds):
    with pytest.raises(bench.UserError, match=r"least|most"):
        bench.Metric("higher", **bounds)


# --- hyperparameters -------------------------------------------------------------------------------------------------


def scaled(learning_rate, momentum=0.9):
    return optax.sgd(learning_rate, momentum)


OWN = bench.Optimizer("own", scaled, {"learning_rate": bench.uniform(0.0, 1.0), "momentum": 0.9})


@pytest.mark.parametrize(
    ("optimizer", "space", "said"),
    [
        ("sgd", {"learning_rate": -0.1}, "'learning_rate'"),
        ("sgd", {"learning_rate": [-0.1, 0.1, "linear"]}, "'learning_rate'"),
        ("prodigy", {"learning_rate": -1.0}, "'learning_rate'"),
        ("adamw", {"weight_decay": -0.1}, "'weight_decay'"),
        ("momentum", {"momentum": 1.5}, "'momentum'"),
        ("momentum", {"momentum": [0.5, 1.5, "linear"]}, "'momentum'"),
        ("rmsprop", {"decay": 1.1}, "'decay'"),
        ("adam", {"b2": 1.0}, "'b2'"),
        ("adam", {"b1": -1.5}, "'b1'"),
        (OWN, {"learning_rate": [-1.0, 1.0]}, "'learning_rate'"),
        ("adam+clip", {"b2": 1.5}, "'b2'"),
    ],
)
def test_values_that_no_optimizer_can_mean(optimizer, space, said):
    (line,) = of_space(optimizer, space)
    assert said in line and line.startswith("optimizer '") and "must" in line


def test_a_rate_of_a_games_player():
    space = {"second.learning_rate": -1e-3}
    line = one(["bilinear-game"], [bench.Contender(optimizer="first=adam,second=sgd", space=space)])
    assert "'second.learning_rate'" in line and "must not be negative" in line


@pytest.mark.parametrize(
    ("optimizer", "space"),
    [
        ("sgd", {"learning_rate": 0.0}),
        ("sgd", {"learning_rate": [0.0, 0.1, "linear"]}),
        ("sgd", {"learning_rate": 1e6}),
        ("adamw", {"weight_decay": 0.0}),
        ("momentum", {"momentum": 0.0}),
        ("momentum", {"momentum": -0.3}),  # as in games
        ("momentum", {"momentum": 1.0}),
        ("adam", {"b1": 0.0, "b2": 0.99999}),
        (OWN, {"momentum": 1.5}),
    ],
)
def test_values_just_inside(optimizer, space):
    assert not of_space(optimizer, space)


def test_an_own_range_below_0():
    wrong = bench.Optimizer("mine", scaled, {"learning_rate": bench.uniform(-1.0, 1.0)})
    assert "'mine'" in one(["quadratic"], [wrong]) and "learning_rate" in one(["quadratic"], [wrong])


def test_an_own_optimizer_means_by_its_settings_what_it_likes():
    def own(learning_rate, b1, b2, weight_decay):
        return optax.sgd(learning_rate * (b1 + b2 + weight_decay))

    uniform = bench.uniform
    space = {"b1": uniform(0.0, 3.0), "b2": 1.5, "weight_decay": uniform(-0.1, 0.1), "learning_rate": 0.1}
    for name in ("own", "adam"):
        assert not mistakes(optimizers=[bench.Optimizer(name, own, space)])
    (line,) = mistakes(optimizers=[bench.Optimizer("own", own, {**space, "learning_rate": -0.1})])
    assert line.endswith("got -0.1; if yours means something else by it, give it another name")
    assert "another name" not in of_space("sgd", {"learning_rate": -0.1})[0]


def test_names_without_a_convention_are_free():
    def climbing(rate, decay):
        return optax.sgd(-rate * decay)

    space = {"rate": bench.uniform(-1.0, 1.0), "decay": bench.uniform(1.0, 3.0)}
    assert not mistakes(optimizers=[bench.Optimizer("mine", climbing, space)])


@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
def test_every_registered_optimizer_and_schedule_can_be_meant(schedule):
    settings = SCHEDULES[schedule].space if schedule else {}
    rated = [
        each.name for each in OPTIMIZERS.values() if "learning_rate" in each.space and not {*settings} & {*each.space}
    ]
    assert not mistakes(optimizers=[bench.Contender(optimizer=name, schedule=schedule) for name in rated])


def test_a_trial_by_hand():
    with pytest.raises(bench.UserError, match="optimizer 'sgd': hyperparameter 'learning_rate' must not be negative"):
        bench.train("quadratic", "sgd", learning_rate=-0.1)
    with pytest.raises(bench.UserError, match="'decay': must be at most 1"):
        bench.train("quadratic", "rmsprop", learning_rate=0.1, decay=1.5)


# --- schedules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "space", "said"),
    [
        ("warmup-cosine", {"warmup": 2.0}, "share of the trial, between 0 and 1, got 2; 2 of 40 steps are 0.05"),
        ("warmup-cosine", {"warmup": 1.5}, "got 1.5; 0.05 are the first 2 of 40 steps"),
        ("warmup-cosine", {"warmup": 10}, "10 of 40 steps are 0.25"),
        ("inverse-sqrt", {"warmup": [0.1, 2.0]}, "share of the trial"),
        ("warmup-stable-decay", {"decay": 1.5}, "share of the trial"),
        ("warmup-stable-decay", {"warmup": 0.7, "decay": 0.5}, "together"),
        ("linear", {"final": -0.1}, "multiple of the peak"),
    ],
)
def test_schedules_beyond_the_trial(schedule, space, said):
    (line,) = of_space("sgd", space, schedule=schedule)
    assert said in line and schedule in line and "optimizer 'sgd" in line


@pytest.mark.parametrize(
    ("schedule", "space"),
    [
        ("warmup-cosine", {"warmup": 1.0}),
        ("warmup-cosine", {"warmup": 0.0}),
        ("warmup-stable-decay", {"warmup": 0.5, "decay": 0.5}),
        ("linear", {"final": 1.5}),
    ],
)
def test_schedules_just_inside(schedule, space):
    assert not of_space("sgd", space, schedule=schedule)


def test_an_own_schedule_counts_its_warmup_as_it_likes():
    own = Schedule("steps", lambda step, horizon, warmup: jnp.minimum(1.0, step / warmup), {"warmup": 10.0})
    assert not mistakes(optimizers=[bench.Contender(optimizer="sgd", schedule=own)])


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), LABELS.values(), ids=LABELS)
def test_labels_that_look_the_same(first, second):
    (line,) = mistakes(optimizers=[bench.Contender(optimizer="sgd", label=label) for label in (first, second)])
    assert line.startswith("optimizers: ") and "look the same" in line and ascii(second) in line and line.isascii()
    (line,) = mistakes([bench.ProblemChoice(problem="quadratic", label=label) for label in (first, second)])
    assert line.startswith("problems: ") and "look the same" in line


@pytest.mark.parametrize("labels", [("sgd", "SGD"), ("l2", "l\u00b2"), ("a b", "ab"), ("e", "\u00e9")])
def test_labels_that_look_different(labels):
    assert not mistakes(optimizers=[bench.Contender(optimizer="sgd", label=label) for label in labels])


@pytest.mark.parametrize("label", [" ", "\u200b"])
def test_a_label_without_anything_to_see(label):
    assert "shows nothing" in one(["quadratic"], [bench.Contender(optimizer="sgd", label=label)])


@pytest.mark.parametrize("letter", ["\n", "\t", "\x1b", "\x9b", "\u2028", "\u202e", "\u2066"])
def test_a_label_that_would_break_lines(letter):
    line = one(["quadratic"], [bench.Contender(optimizer="sgd", label=f"a{letter}b")])
    assert line.startswith("optimizers: ") and ascii(letter) in line and line.isascii()
    assert one([bench.ProblemChoice(problem="quadratic", label=f"a{letter}b")]).startswith("problems: ")


def test_labels_in_any_script_and_with_joined_signs():
    labels = ("\u5b66\u7fd2", "\u05e8\u05e9\u05ea", "\U0001f469\u200d\U0001f52c", "$x_1$ | <b> & {50%}")
    assert not mistakes(optimizers=[bench.Contender(optimizer="sgd", label=label) for label in labels])


# --- everywhere, together --------------------------------------------------------------------------------------------


def test_every_mistake_is_named_at_once_before_anything_runs():
    with pytest.raises(bench.UserError) as error:
        bench.compare(
            problems=[bench.ProblemChoice(problem="quadratic", target=-1)],
            optimizers=[
                bench.Contender(optimizer="prodigy", space={"learning_rate": -1}, label="mine"),
                bench.Contender(optimizer="sgd", schedule="warmup-cosine", space={"warmup": 2}, label="mine "),
            ],
            budget=bench.Budget(steps=40, tuning_points=2, seeds=3, evaluations=4),
            progress=False,
        )
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    for said in ("target must be above 0", "'learning_rate' must not", "share of the trial", "look the same"):
        assert any(said in line for line in lines)


def test_a_spec_file(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(
        """
name = "x"
problems = [{ problem = "digits-mlp", target = 95 }]
optimizers = ["sgd", { optimizer = "sgd", label = "sgd ", schedule = "warmup-cosine", space = { warmup = 2 } }]
[budget]
tuning_points = 2
seeds = 3
""",
        encoding="utf-8",
    )
    with pytest.raises(bench.UserError) as error:
        plan(load(path))
    said = str(error.value)
    assert "did you mean 0.95?" in said and "share of the trial" in said and "look the same" in said


def test_a_spec_file_with_a_negative_rate_is_refused_at_its_place(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(
        'name = "x"\nproblems = ["quadratic"]\n'
        'optimizers = [{ optimizer = "momentum", space = { learning_rate = -0.1, momentum = 1.5 } }]\n'
    )
    with pytest.raises(bench.UserError) as error:
        load(path)
    first, second = str(error.value).splitlines()
    assert "optimizers[0].space" in first and "'learning_rate'" in first and "negative" in first
    assert "'momentum'" in second and "at most 1" in second
