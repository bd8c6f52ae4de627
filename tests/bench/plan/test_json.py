"""The codec: what comes back is what was written, in the standard library's text, and damage is named by its place."""

import hashlib
import json
import math
from dataclasses import asdict, fields, is_dataclass, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dlkit.bench.errors import UserError
from dlkit.bench.plan.axes import AXES, Allowance
from dlkit.bench.plan.card import ColumnCard, DataCard, Role
from dlkit.bench.plan.json import from_data, from_json, to_data, to_json
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.plan import Expansion, Plan
from dlkit.bench.plan.planned import PlannedContender, PlannedProblem
from dlkit.bench.plan.policies import EarlyStopping, TargetRule, Tuner
from dlkit.bench.plan.programs import Programs
from dlkit.bench.plan.space import Point, Range
from dlkit.bench.plan.trials import ORDERS, Timing

# --- random plans ----------------------------------------------------------------------------------------------------

names = st.text(max_size=8)  # of any letters
counts = st.integers(0, 10_000)
numbers = st.floats(allow_nan=False) | st.integers(-1000, 1000)
positive = st.floats(1e-9, 1e9) | st.integers(1, 1000)
settings = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
tables = st.dictionaries(names, settings | st.lists(settings, max_size=2), max_size=3)
ranges = st.builds(
    lambda low, times, scale: Range(low, times * low, scale),
    st.floats(1e-6, 1e-3),
    st.floats(1.1, 900),
    st.sampled_from(["linear", "log", "one_minus_log"]),
)
spaces = st.dictionaries(names, ranges | numbers, max_size=3)
points = st.builds(Point, st.dictionaries(names, numbers, max_size=3), st.dictionaries(names, settings, max_size=3))
many_points = st.lists(points, max_size=3)
metrics = st.builds(
    Metric,
    st.sampled_from(["lower", "higher"]),
    st.sampled_from(["linear", "log"]),
    names,
    st.none() | st.floats(1e-30, 1.0),
    st.none() | st.floats(-1e3, 0.0),
    st.none() | st.floats(1e-3, 1e3),
)
name_lists = st.lists(names, max_size=2).map(tuple)
columns = st.builds(ColumnCard, names, st.sampled_from(get_args(Role)), names, names, counts, counts)
cards = st.builds(
    DataCard,
    form=names,
    files=name_lists,
    rows=counts,
    used=counts,
    split=names,
    columns=st.lists(columns, max_size=2).map(tuple),
    classes=name_lists,
    class_counts=st.dictionaries(names, st.lists(counts, max_size=2).map(tuple), max_size=2),
    target=names,
    notes=name_lists,
)
problems = st.builds(
    PlannedProblem,
    name=names,
    metrics=st.dictionaries(names, metrics, max_size=2),
    metric=names,
    target=st.none() | numbers,
    steps=counts,
    batch_size=st.none() | counts,
    data=names,
    data_source=names,
    is_own=st.booleans(),
    description=names,
    diverged_above=st.none() | numbers,
    ladder=st.lists(numbers, max_size=3).map(tuple),
    made_by=names,
    choices=tables,
    margin=st.none() | numbers,
    examples=st.tuples(counts, counts, counts),
    judged_on=st.sampled_from(["test", "objective"]),
    redraws_split=st.booleans(),
    leaks=st.lists(names, max_size=2).map(tuple),
    unseen=st.lists(names, max_size=2).map(tuple),
    order=st.sampled_from(sorted(ORDERS)),
    axis=st.sampled_from(AXES),
    amount=st.none() | positive,
    allowances=st.dictionaries(
        names, st.builds(Allowance, counts, st.none() | positive, st.none() | positive), max_size=2
    ),
    card=st.none() | cards,
)
stoppings = st.builds(EarlyStopping, patience=st.integers(1, 9), min_delta=positive | st.just(0), metric=names)
contenders = st.builds(
    PlannedContender,
    label=names,
    optimizer=names,
    is_own=st.booleans(),
    space=spaces,
    points=many_points,
    static=st.dictionaries(names, st.lists(settings, max_size=3), max_size=3),
    further=st.lists(many_points, max_size=2).map(tuple),
    undrawn=st.none() | counts,
    schedule=names,
    batch_size=st.none() | st.just("full") | counts,
    stopping=st.none() | stoppings,
    choices=tables,
    tuned_choices=st.lists(names, max_size=2).map(tuple),
    levels=st.dictionaries(names, names, max_size=2),
    draw=counts,
    problems=st.lists(names, max_size=2).map(tuple),
    order=st.none() | st.sampled_from(sorted(ORDERS)),
)
expansions = st.builds(Expansion, names, names, spaces, st.lists(many_points, max_size=2))
tuners = st.builds(
    Tuner,
    name=names,
    seconds=st.none() | positive,
    studies=counts,
    halving=st.none() | counts,
    batch=counts,
    grid=st.dictionaries(names, counts, max_size=2),
    first_study=counts,
    objective=names,
)
rules = st.builds(
    TargetRule,
    baselines=st.lists(names, max_size=2).map(tuple),
    reruns=st.integers(1, 99),
    shares=st.lists(st.floats(0.01, 1) | st.just(1), min_size=1, max_size=3).map(tuple),
)
programs = st.builds(Programs, problem=names, method=names, probes=names)
plans = st.builds(
    Plan,
    name=names,
    problems=st.lists(problems, max_size=2),
    contenders=st.lists(contenders, max_size=2),
    evaluations=counts,
    tuning_seeds=counts,
    seeds=counts,
    tuner=tuners,
    expansions=st.lists(expansions, max_size=2).map(tuple),
    probes=st.dictionaries(names, st.booleans(), max_size=2),
    programs=st.dictionaries(names, st.dictionaries(names, st.dictionaries(names, programs, max_size=2), max_size=2)),
    trial_seconds=st.none() | positive,
    targets=rules,
    max_seeds=st.none() | counts,
    expand=st.booleans(),
    timing=st.booleans(),
    added_seeds=st.dictionaries(names, st.dictionaries(names, counts, max_size=2), max_size=2),
    max_studies=st.none() | counts,
    added_studies=st.dictionaries(names, st.dictionaries(names, counts, max_size=2), max_size=2),
)
timings = st.builds(
    Timing,
    seconds=st.lists(positive, max_size=4).map(tuple),
    evaluation_seconds=positive | st.just(math.nan),
    parameter_bytes=counts,
    state_bytes=counts,
    memory_bytes=st.none() | counts,
    failure=names,
)
BUILT = {
    Plan: plans,
    PlannedProblem: problems,
    PlannedContender: contenders,
    Expansion: expansions,
    Tuner: tuners,
    TargetRule: rules,
    EarlyStopping: stoppings,
    Metric: metrics,
    Range: ranges,
}


def standard(value):
    """The canonical text, by the standard library alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def exactly(value):
    """A value with the types of all its parts: equal is not the same, 1 == 1.0 == True."""
    if is_dataclass(value):
        return type(value), [(field.name, exactly(getattr(value, field.name))) for field in fields(value)]
    if isinstance(value, dict):
        return dict, sorted((name, exactly(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return type(value), [exactly(item) for item in value]
    return type(value), repr(value)


@pytest.mark.long
@given(plans)
def test_plans_come_back_as_they_were(plan):
    text = to_json(plan)
    assert text == standard(asdict(plan))
    again = from_json(Plan, text)
    assert again == plan and exactly(again) == exactly(plan)
    assert to_json(again) == text
    assert again.digest == plan.digest == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.long
@given(st.one_of(*BUILT.values(), points))
def test_so_do_its_parts(part):
    assert exactly(from_json(type(part), to_json(part))) == exactly(part)
    assert exactly(from_data(type(part), to_data(part))) == exactly(part)


@given(timings)
def test_timings_come_back_and_what_is_unknown_is_null(timing):
    data = json.loads(to_json(timing))
    assert (data["evaluation_seconds"] is None) == math.isnan(timing.evaluation_seconds)
    assert "NaN" not in to_json(replace(timing, failure=""))
    assert exactly(from_json(Timing, to_json(timing))) == exactly(timing)


def test_a_timing_by_hand():
    text = (
        '{"evaluation_seconds":null,"failure":"no room","memory_bytes":null,"parameter_bytes":0,"seconds":[0.5,2],'
        '"state_bytes":7}'
    )
    timing = Timing((0.5, 2), state_bytes=7, failure="no room")
    assert to_json(timing) == text and exactly(from_json(Timing, text)) == exactly(timing)


@pytest.mark.long
@pytest.mark.parametrize("kind", [*BUILT, Timing])
def test_every_field_is_drawn_at_random(kind):
    """A field that is added later must be added to the strategies above, or it would never be tested."""
    strategy = {**BUILT, Timing: timings}[kind]
    seen = {field.name: set() for field in fields(kind)}

    @hypothesis_settings(max_examples=40)
    @given(strategy)
    def collect(value):
        for name in seen:
            seen[name].add(repr(getattr(value, name)))

    collect()
    assert [name for name, values in seen.items() if len(values) < 2] == []


# --- plans of older runs ---------------------------------------------------------------------------------------------


def small_plan():
    problem = PlannedProblem("bowl", {"error": Metric()}, "error", 0.1, 40, 8, "d" * 16, "made up", False, "a bowl")
    space = {"learning_rate": Range(1e-3, 1.0, "log"), "momentum": 0.9}
    contender = PlannedContender("sgd", "sgd", False, space, [Point({"learning_rate": 0.1, "momentum": 0.9}, {})])
    return Plan("small", [problem], [contender], 4, 2, 10)


def test_what_older_runs_did_not_write_takes_its_default():
    data = json.loads(to_json(small_plan()))
    for part, kind in (
        (data, Plan),
        (data["problems"][0], PlannedProblem),
        (data["contenders"][0], PlannedContender),
        (data["problems"][0]["metrics"]["error"], Metric),
    ):
        required = [field.name for field in fields(kind)][
            : {Plan: 6, PlannedProblem: 10, PlannedContender: 5}.get(kind, 0)
        ]
        for name in set(part) - set(required):
            del part[name]
    assert from_data(Plan, data) == small_plan()


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("seeds", "x", "Plan.seeds: expected a whole number, got 'x'"),
        ("seeds", 1.5, "Plan.seeds: expected a whole number, got 1.5"),
        ("seeds", True, "Plan.seeds: expected a whole number, got True"),
        ("seeds", ..., "Plan.seeds: it is missing"),
        ("sedes", 3, "Plan: unknown field 'sedes'; did you mean 'seeds'?"),
        ("name", 3, "Plan.name: expected a text, got 3"),
        ("probes", "ab", "Plan.probes: expected a table, got 'ab'"),
        ("targets", [], "Plan.targets: expected a table, got []"),
        (
            "targets.shares",
            [2],
            "Plan.targets: targets.shares must be shares of the budget, above 0 and up to 1, got (2,)",
        ),
        ("added_seeds", {"bowl": {"sgd": "5"}}, "Plan.added_seeds['bowl']['sgd']: expected a whole number, got '5'"),
        ("added_studies", {"bowl": [5]}, "Plan.added_studies['bowl']: expected a table, got [5]"),
        ("tuner.first_study", "1", "Plan.tuner.first_study: expected a whole number, got '1'"),
        ("contenders.0.draw", 0.5, "Plan.contenders[0].draw: expected a whole number, got 0.5"),
        ("trial_seconds", "5", "Plan.trial_seconds: expected a number, got '5'"),
        ("problems", {}, "Plan.problems: expected a list, got {}"),
        ("problems.0", None, "Plan.problems[0]: expected a table, got None"),
        (
            "problems.0.metrics.error.direction",
            "up",
            "Plan.problems[0].metrics['error'].direction: expected one of 'lower', ",
        ),
        ("problems.0.ladder", [0.1, "x"], "Plan.problems[0].ladder[1]: expected a number, got 'x'"),
        ("problems.0.steps", "x" * 99, "Plan.problems[0].steps: expected a whole number, got 'xxxxx"),
        ("contenders.0.space.learning_rate.low", ..., "Plan.contenders[0].space['learning_rate'].low: it is missing"),
        ("contenders.0.space.learning_rate.low", None, "['learning_rate'].low: expected a number, got None"),
        (
            "contenders.0.space.learning_rate.low",
            2.0,
            "Plan.contenders[0].space['learning_rate']: a range needs finite",
        ),
        (
            "contenders.0.space.momentum",
            "x",
            "Plan.contenders[0].space['momentum']: expected a range or a number, got 'x'",
        ),
        (
            "contenders.0.batch_size",
            "all",
            "Plan.contenders[0].batch_size: expected a whole number, 'full' or null, got 'a",
        ),
        (
            "contenders.0.points.0",
            [{}],
            "Plan.contenders[0].points[0]: expected a list of hyperparameters, static, got [{}]",
        ),
        (
            "contenders.0.points.0.0.momentum",
            "x",
            "Plan.contenders[0].points[0][0]['momentum']: expected a number, got",
        ),
        ("contenders.0.stopping", {"patience": 0}, "Plan.contenders[0].stopping: early_stopping.patience must be"),
    ],
)
def test_damage_is_named_by_its_place(place, value, message):
    data = json.loads(to_json(small_plan()))
    *path, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    part = data
    for step in path:
        part = part[step]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    with pytest.raises(UserError) as error:
        from_data(Plan, data)
    assert message in str(error.value) and len(str(error.value)) < 200


def test_several_mistakes_are_told_at_once_but_not_all_of_hundreds():
    with pytest.raises(UserError) as error:
        from_json(Plan, '{"name": 1, "seeds": "x"}')
    assert str(error.value) == (
        "Plan.name: expected a text, got 1; Plan.problems: it is missing; Plan.contenders: it is missing; "
        "and 3 more mistakes"
    )


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}}', "1" * 5000])
def test_what_is_no_json(text):
    with pytest.raises(UserError, match=r"^Plan: expected JSON, but: "):
        from_json(Plan, text)
