"""Settings of a spec file that are replaced key by key: what they mean, and what is said of mistakes."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.bench.errors import UserError
from dlkit.bench.spec.overrides import overridden
from dlkit.bench.spec.toml import load

SPEC = """
problems = ["quadratic", {problem = "beale", steps = 40}]
optimizers = ["sgd", {optimizer = "adam", space = {learning_rate = 0.1}}]
[budget]
evaluations = 4
tuning_points_per_dimension = 2
"""
TABLE = tomllib.loads(SPEC)


@pytest.mark.parametrize(
    ("setting", "place", "expected"),
    [
        ("budget.evaluations=10", ["budget", "evaluations"], 10),
        ("budget.tuner=random", ["budget", "tuner"], "random"),
        ('budget.tuner = "random"', ["budget", "tuner"], "random"),
        ("problems.1.steps=100", ["problems", 1, "steps"], 100),
        ("problems[1].steps=100", ["problems", 1, "steps"], 100),
        ("problems.0.steps=100", ["problems", 0], {"problem": "quadratic", "steps": 100}),
        (
            "optimizers.0.space.learning_rate=[1e-3, 1, 'log']",
            ["optimizers", 0, "space", "learning_rate"],
            [0.001, 1, "log"],
        ),
        ("optimizers.1=nadam", ["optimizers", 1], "nadam"),
        ('optimizers=["lion"]', ["optimizers"], ["lion"]),
        ("settling.margin=0.5", ["settling"], {"margin": 0.5}),
        ("early_stopping={patience=3}", ["early_stopping"], {"patience": 3}),
        ("optimizers.1.early_stopping.patience=3", ["optimizers", 1, "early_stopping"], {"patience": 3}),
        ("problems.1.choices.deep.er=true", ["problems", 1, "choices"], {"deep": {"er": True}}),
        ("factors.schedule=['constant']", ["factors"], {"schedule": ["constant"]}),
        ("budget.tuning_points=3", ["budget"], {"evaluations": 4, "tuning_points": 3}),
    ],
)
def test_a_value_is_put_where_its_key_says(setting: str, place: list[Any], expected: Any) -> None:
    found: Any = overridden(TABLE, [setting])
    for part in place:
        found = found[part]
    assert found == expected
    assert tomllib.loads(SPEC) == TABLE  # it stays what it is


def test_the_last_of_one_key_counts() -> None:
    assert overridden(TABLE, ["budget.seeds=2", "budget.seeds=3"])["budget"]["seeds"] == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("budget.evaluatons=3", "unknown key 'budget.evaluatons'; did you mean 'budget.evaluations'?"),
        ("bugdet.seeds=3", "unknown key 'bugdet'; did you mean 'budget'?"),
        ("problems.0.stpes=3", "unknown key 'problems.0.stpes'; did you mean 'problems.0.steps'?"),
        ("problems.2.steps=3", "no problems.2: items are counted from 0, and the last one is problems.1"),
        ("problems.first.steps=3", "problems is a list: give the place of an item, from 0 to 1, got 'first'"),
        ("budget.evaluations.many=3", "budget.evaluations is 4, and has no key 'many'"),
        ("budget", "expected KEY=VALUE, such as --set budget.evaluations=10"),
        ("=3", "expected KEY=VALUE, such as --set budget.evaluations=10"),
        ("budget..seeds=3", "expected KEY=VALUE, such as --set budget.evaluations=10"),
        ("budget.seeds=", "nothing is no value of TOML"),
        ("budget.grid={a=", "{a= is no value of TOML"),
        ("name=two words", "two words is no value of TOML; a text with blanks needs quotes"),
    ],
)
def test_mistakes_name_the_setting_and_the_nearest_key(setting: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        overridden(TABLE, [setting])
    assert str(raised.value).startswith(f"--set {setting}: {message}")


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(UserError) as raised:
        overridden(TABLE, ["budget.sedes=3", "nmae=x"])
    assert len(str(raised.value).splitlines()) == 2


def test_a_value_that_does_not_fit_is_told_as_the_files_are_and_where_it_came_from(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC + "sedes = 2\n")
    with pytest.raises(UserError) as raised:
        load(path, settings=["budget.seeds=many", "problems.1.steps=0.5", "optimizers.0.space.learning_rte=1"])
    assert str(raised.value).splitlines() == [
        f"{path}: unknown key 'budget.sedes'; did you mean 'budget.seeds'?",
        f"{path}: budget.seeds: expected a whole number, got 'many' (--set budget.seeds=many)",
        f"{path}: problems[1].steps: expected a whole number, got 0.5 (--set problems.1.steps=0.5)",
        f"{path}: optimizers[0].space: optimizer 'sgd': no hyperparameter 'learning_rte'; did you mean 'learning_rate'"
        "?",
    ]


def test_what_is_loaded_has_the_values(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    loaded = load(path, settings=["budget.evaluations=10", "problems.0.steps=100", "name=mine", "expand=true"])
    assert loaded.budget.evaluations == 10 and loaded.budget.tuning_points_per_dimension == 2
    assert [each.steps for each in loaded.problems] == [100, 40]
    assert loaded.name == "mine" and loaded.expand


@given(value=st.one_of(st.integers(-(2**62), 2**62), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)))
def test_every_number_of_toml_arrives(value: float) -> None:
    text = str(value).lower()
    assert overridden(TABLE, [f"budget.seeds={text}"])["budget"]["seeds"] == value
