"""What the door does to columns: fitted to the training split alone, in every study anew."""

import datetime
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dlkit import bench
from dlkit.bench.data.base import SPLITS

RNG = np.random.default_rng(1)
ROWS = 100
TABLE = pd.DataFrame(
    {
        "size": RNG.normal(7, 3, ROWS),
        "island": RNG.choice(["east", "west", "north"], ROWS),
        "wild": RNG.random(ROWS) < 0.5,
        "row": np.arange(ROWS) ** 2,
        "kind": np.array(["ant", "bee"])[np.arange(ROWS) % 2],
    }
)
OPTIONS = {"target": "kind"}


def rows_of(made: bench.Dataset, part: str, study: int = 0) -> np.ndarray:
    """Which rows of the table a split has: `row` is a square, and standardized by a monotone function."""
    inputs = np.concatenate([getattr(made.of_study(study), each)["inputs"] for each in SPLITS])
    place = np.argsort(np.argsort(inputs[:, -1]))
    bounds = np.cumsum([0, *made.sizes])
    index = SPLITS.index(part)
    return place[bounds[index] : bounds[index + 1]]


@pytest.mark.parametrize("study", [0, 1, 5])
def test_columns_are_what_the_training_rows_make_of_them(study: int) -> None:
    made = bench.dataset(TABLE, **OPTIONS)
    train = TABLE.iloc[rows_of(made, "train", study)]
    for part in SPLITS:
        rows = TABLE.iloc[rows_of(made, part, study)]
        expected = np.column_stack(
            [
                (rows["size"] - train["size"].mean()) / train["size"].std(ddof=0),
                *(rows["island"] == level for level in ("east", "north", "west")),
                rows["wild"],
                (rows["row"] - train["row"].mean()) / train["row"].std(ddof=0),
            ]
        ).astype(np.float32)
        found = getattr(made.of_study(study), part)
        np.testing.assert_allclose(found["inputs"], expected, atol=1e-5)
        np.testing.assert_array_equal(found["targets"], rows["kind"] == "bee")


def test_studies_have_splits_of_their_own_of_one_shape() -> None:
    made = bench.dataset(TABLE, **OPTIONS)
    assert sorted(np.concatenate([rows_of(made, part, 3) for part in SPLITS])) == list(range(ROWS))
    assert {*rows_of(made, "test", 3)} != {*rows_of(made, "test", 0)}
    again = pickle.loads(pickle.dumps(made))
    assert again.digest == made.digest and again.card == made.card
    np.testing.assert_array_equal(again.of_study(4).train["inputs"], made.of_study(4).train["inputs"])


CHANGES: dict[str, Any] = {"size": 1e6, "island": "nowhere", "wild": True, "row": -5}


@pytest.mark.parametrize("column", CHANGES)
def test_test_rows_do_not_move_what_is_trained_on(column: str) -> None:
    test = TABLE[:20].copy()
    changed = test.assign(**{column: CHANGES[column]})
    first, second = (bench.dataset(TABLE[20:], **OPTIONS, test=each) for each in (test, changed))
    for part in ("train", "validation"):
        np.testing.assert_array_equal(getattr(first, part)["inputs"], getattr(second, part)["inputs"])
    assert (first.test["inputs"] != second.test["inputs"]).any()
    if column == "island":  # a level that no training row has is 0 everywhere
        assert not second.test["inputs"][:, 1:4].any()


def test_the_share_of_the_test_is_fitted_to_training_rows_too() -> None:
    """Changing the rows that happen to be the test's moves nothing else."""
    made = bench.dataset(TABLE, **OPTIONS)
    changed = TABLE.copy()
    changed.loc[rows_of(made, "test"), "size"] += 1e5
    other = bench.dataset(changed, **OPTIONS)
    np.testing.assert_array_equal(made.train["inputs"], other.train["inputs"])
    np.testing.assert_array_equal(made.validation["inputs"], other.validation["inputs"])


def test_missing_values_are_imputed_by_training_rows_or_dropped() -> None:
    gaps = TABLE.copy()
    gaps.loc[::7, "size"] = np.nan
    gaps.loc[::9, "island"] = None
    made = bench.dataset(gaps, **OPTIONS, missing="impute")
    train, test = gaps.iloc[rows_of(made, "train")], gaps.iloc[rows_of(made, "test")]
    filled = train["size"].fillna(train["size"].median())
    expected = (test["size"].fillna(train["size"].median()) - filled.mean()) / filled.std(ddof=0)
    np.testing.assert_allclose(made.test["inputs"][:, 0], expected, atol=1e-5)
    np.testing.assert_array_equal(made.test["inputs"][:, 1], test["size"].isna())
    usual = np.argmax([train["island"].eq(level).sum() for level in ("east", "north", "west")])
    absent = test["island"].isna().to_numpy()
    np.testing.assert_array_equal(made.test["inputs"][absent, 2:5], np.eye(3)[[usual] * absent.sum()])
    np.testing.assert_array_equal(made.test["inputs"][:, 5], absent)
    dropped = bench.dataset(gaps, **OPTIONS, missing="drop")
    assert sum(dropped.sizes) == len(gaps.dropna()) and dropped.train["inputs"].shape[1] == 6
    assert dropped.card is not None and dropped.card.rows == ROWS and dropped.card.used == len(gaps.dropna())


def test_words_can_stand_for_missing_values() -> None:
    words = TABLE.assign(size=["?" if row % 10 == 0 else str(row) for row in range(ROWS)])
    made = bench.dataset(words, **OPTIONS, missing_words=["?"], missing="impute")
    assert made.card is not None and made.card.columns[0].missing == 10 and made.card.columns[0].kind == "numbers"


def test_a_level_that_training_lacks_is_nothing() -> None:
    table = pd.DataFrame({"island": ["rare", *["east", "west"] * 30], "kind": [*"ab" * 30, "a"]})
    made = bench.dataset(table, target="kind")
    zeros = 0
    for study in range(8):
        drawn = made.of_study(study)
        is_trained_on = drawn.train["inputs"][:, 1].sum() == 1
        assert drawn.train["inputs"].shape[1] == 3 and (drawn.train["inputs"].sum(axis=1) == 1).all()
        held_out = np.concatenate([drawn.validation["inputs"], drawn.test["inputs"]])
        assert (held_out.sum(axis=1) == 0).sum() == (not is_trained_on) and not held_out[:, 1].any()
        zeros += not is_trained_on
    assert 0 < zeros < 8


def test_years_and_numbers_may_be_names_of_columns(tmp_path: Path) -> None:
    for names, header, count in (
        ("kind,1990,1991", None, 20),
        ("0,1,2", None, 20),
        ("x,7,8.5", None, 21),
        ("x,7,8.5", True, 20),
        ("x,7,8", None, 21),
    ):
        (tmp_path / "t.csv").write_text("\n".join([names, *(f"{'xy'[row % 2]},{row},{row}" for row in range(20))]))
        card = bench.dataset(tmp_path / "t.csv", target=0, header=header).card
        assert card is not None and (card.rows, card.classes) == (count, ("x", "y"))


def test_many_levels_are_the_frequent_ones_of_the_training_rows() -> None:
    table = pd.DataFrame({"code": [f"c{row % 60:02d}" for row in range(600)], "kind": ["a", "b", "b"] * 200})
    table.loc[:300, "code"] = "c00"
    made = bench.dataset(table, target="kind")
    for study in (0, 2):
        inputs = np.concatenate([getattr(made.of_study(study), part)["inputs"] for part in SPLITS])
        assert inputs.shape[1] == 33 and (inputs.sum(axis=1) == 1).all()
        assert inputs[:, 0].sum() == (table["code"] == "c00").sum()


def test_dates_are_days_since_the_first_training_date() -> None:
    days = pd.Series(pd.date_range("2020-01-01", periods=ROWS, freq="D"))
    kinds = (days, days.dt.strftime("%Y-%m-%d"), days.dt.date, days.dt.tz_localize("UTC"), days.dt.to_period("D"))
    for column in kinds:
        made = bench.dataset(TABLE[["kind"]].assign(day=column), target="kind", scale=False)
        every = np.concatenate([getattr(made, part)["inputs"][:, 0] for part in SPLITS])
        assert made.train["inputs"].min() == 0 and np.ptp(every) == ROWS - 1
    assert isinstance(days[0], datetime.datetime)


def test_seconds_since_1970_keep_their_differences() -> None:
    seconds = 1_700_000_000 + np.arange(ROWS)
    made = bench.dataset(TABLE[["kind"]].assign(time=seconds), target="kind")
    assert len(np.unique(made.train["inputs"])) == made.examples


def test_quantities_keep_their_units_unless_asked() -> None:
    made = bench.dataset(TABLE, target="size")
    assert {*np.concatenate([getattr(made, part)["targets"] for part in SPLITS])} == {*TABLE["size"].astype(np.float32)}
    scaled = bench.dataset(TABLE, target="size", scale_target=True)
    assert abs(scaled.train["targets"].mean()) < 1e-6 and abs(scaled.train["targets"].std() - 1) < 1e-6
    both = bench.dataset(TABLE, target=["size", "row"])
    assert both.train["targets"].shape == (60, 2) and both.train["targets"].dtype == np.float32


def test_what_targets_are_is_judged_by_their_values() -> None:
    def classes(values: Any, **options: Any) -> tuple[str, ...]:
        card = bench.dataset(TABLE[["size"]].assign(y=values), target="y", **options).card
        assert card is not None
        return card.classes

    assert classes(np.arange(ROWS) % 3 + 5) == ("5", "6", "7") and classes(np.arange(ROWS) % 2 * 2.0 - 1) == ("-1", "1")
    assert classes(np.arange(ROWS) % 2 == 0) == ("False", "True")
    assert classes(np.arange(ROWS) % 3 * 2) == () and classes(np.arange(ROWS) % 3 * 2, task="classification")
    assert classes(np.arange(ROWS)) == () and classes(np.arange(ROWS) % 3, task="regression") == ()


def test_groups_stay_together_and_time_goes_on() -> None:
    grouped = bench.dataset(TABLE.assign(who=np.arange(ROWS) // 5), **OPTIONS, groups="who")
    for study in (0, 1):
        where = [{*rows_of(grouped, part, study) // 5} for part in SPLITS]
        assert not where[0] & where[1] and not where[0] & where[2] and not where[1] & where[2]
    assert "who" not in [each.name for each in grouped.card.columns if each.role == "input"]  # type: ignore[union-attr]
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.permutation(ROWS), unit="D")
    timed = bench.dataset(TABLE.assign(day=days), **OPTIONS, time="day")
    times = [days[rows_of(timed, part)] for part in SPLITS]
    assert times[0].max() < times[1].min() and times[1].max() < times[2].min() and timed.redraw is None


def test_a_subset_is_drawn_from_all_of_a_sorted_file() -> None:
    table = TABLE.sort_values("kind")
    made = bench.dataset(table, **OPTIONS, examples=40)
    assert sum(made.sizes) == 40 and all(np.ptp(getattr(made, part)["targets"]) == 1 for part in SPLITS)


def test_images_of_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    for row, label in enumerate("ab" * 10):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), 257 * 10 * row, np.uint16)).save(tmp_path / label / f"{row}.png")
    made = bench.dataset(tmp_path)
    every = np.concatenate([getattr(made, part)["inputs"][:, 0, 0, 0] for part in SPLITS])
    np.testing.assert_allclose(np.sort(every), np.arange(20) * 10 / 255, atol=1e-6)
    small = bench.dataset(tmp_path, size=(2, 3))
    assert small.train["inputs"].shape[1:] == (2, 3, 1)


def test_every_class_has_its_share_of_each_split() -> None:
    rare = TABLE.assign(kind=["rare" if row < 10 else "usual" for row in range(ROWS)])
    card = bench.dataset(rare, **OPTIONS).card
    assert card is not None and card.class_counts == {"train": (6, 54), "validation": (2, 18), "test": (2, 18)}
    free = bench.dataset(TABLE, **OPTIONS, stratify=False).card
    assert free is not None and free.split == "at random, anew in each study"


def test_a_series_is_standardized_per_channel_and_bytes_are_shares() -> None:
    series = RNG.normal([5, -3], [2, 9], (ROWS, 8, 2))
    made = bench.dataset((series, TABLE["kind"]))
    np.testing.assert_allclose(made.train["inputs"].mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(made.train["inputs"].std(axis=(0, 1)), 1, atol=1e-5)


def test_problems_of_quantities_are_judged_in_their_units() -> None:
    table = TABLE.assign(price=1e6 + 1e5 * TABLE["size"])[["size", "price"]]
    problem = bench.problem_from_dataset(bench.dataset(table, target="price"), model="linear")
    key = jax.random.key(0)
    params, state = problem.init(key)
    batch = {name: jnp.asarray(array[:8]) for name, array in problem.dataset.train.items()}
    error = problem.evaluate(params, state, batch)["mean_absolute_error"]
    loss, _ = problem.loss(params, state, batch, key)
    assert 1e3 < error < 1e6 and 1e-3 < loss < 1e2


@pytest.mark.parametrize("asked", [{"metric": "accuracy"}, {"loss": "focal"}])
def test_texts_are_judged_in_bits_alone(tmp_path: Path, asked: dict[str, str]) -> None:
    (tmp_path / "t.txt").write_text(" ".join(np.random.default_rng(0).choice(["to", "be", "or", "not"], 300)))
    (named,) = asked
    with pytest.raises(bench.UserError, match=f"texts have cross-entropy, judged in bits_per_character; got {named}"):
        bench.problem_from_dataset(bench.dataset(tmp_path / "t.txt", length=20), **asked)
