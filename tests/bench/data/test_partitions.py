"""Which examples go where: every example once, classes in their shares, groups together, one time after another."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.bench.data import split, split_official
from dlkit.bench.data.partitions import (
    Rows,
    absent,
    grouped_rows,
    random_rows,
    shuffled,
    stratified_rows,
    timed_rows,
)
from dlkit.bench.errors import UserError

SPLITS = ("train", "validation", "test")


def is_partition(rows: Rows, count: int) -> bool:
    return sorted(np.concatenate(rows).tolist()) == list(range(count))


@given(st.integers(5, 300), st.integers(0, 2**40))
def test_random_rows_are_a_permutation(count: int, key: int) -> None:
    rows = random_rows(count, (2, 1), key)
    assert is_partition(rows, count) and [len(part) for part in rows] == [count - 3, 2, 1]
    assert np.concatenate([rows.validation, rows.test, rows.train]).tolist() == shuffled(count, key).tolist()


@settings(max_examples=200)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=8), st.floats(0.05, 0.4), st.floats(0.0, 0.4), st.integers(0, 9)
)
def test_stratified_rows_have_every_class_in_its_share(
    counts: list[int], validation: float, test: float, key: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    sizes = (max(1, round(validation * len(labels))), round(test * len(labels)))
    if sum(sizes) > len(labels) - len(counts):
        with pytest.raises(UserError, match="leave none of each for training"):
            stratified_rows(labels, sizes, key)
        return
    rows = stratified_rows(labels, sizes, key)
    assert is_partition(rows, len(labels)) and (len(rows.validation), len(rows.test)) == sizes
    found = np.array([np.bincount(labels[part], minlength=len(counts)) for part in rows])
    assert (found[0] >= 1).all(), "each class is trained on"
    splits = 3 if sizes[1] else 2
    if min(counts) >= 10 * splits:
        quota = np.outer(sizes, counts) / len(labels)
        assert np.abs(found[1:] - quota).max() <= 2
        if min(size for size in sizes if size) >= 2 * len(counts):
            assert not absent(labels, rows)


def test_rare_classes_are_everywhere_if_there_are_three() -> None:
    labels = np.repeat([7, 1, 2], [300, 3, 3])
    rows = stratified_rows(labels, (20, 20), 0)
    assert not absent(labels, rows)
    assert absent(labels, Rows(rows.train[:1], rows.validation[:0], rows.test)) == [
        (label, "train") for label in (1, 2, 7) if label != labels[rows.train[0]]
    ]


@settings(max_examples=100)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=150), st.integers(0, 9))
def test_no_group_is_in_two_splits(counts: list[int], key: int) -> None:
    groups = np.repeat([f"patient {number}" for number in range(len(counts))], counts)
    count = len(groups)
    sizes = (max(1, count // 5), max(1, count // 5))
    rows = grouped_rows(groups, sizes, key)
    assert rows is not None and is_partition(rows, count)
    of_split = [set(groups[part].tolist()) for part in rows]
    assert all(of_split) and sum(map(len, of_split)) == len(counts)
    if len(counts) > 20:
        assert max(abs(len(part) - size) for part, size in zip(rows[1:], sizes, strict=True)) <= 1


def test_a_group_that_is_most_of_the_data_is_trained_on_or_not_but_whole() -> None:
    groups = np.repeat(np.arange(100), [1000] + [2] * 99)
    rows = grouped_rows(groups, (240, 240), 0)
    assert rows is not None and is_partition(rows, 1198)
    assert sum(0 in groups[part] for part in rows) == 1


def test_exactly_these_sizes_or_none() -> None:
    groups = np.repeat(np.arange(5), [3, 5, 7, 11, 13])
    rows = grouped_rows(groups, (5, 7), 0)
    assert rows is not None
    assert grouped_rows(groups, (5, 6), 0, exact=True) is None
    again = grouped_rows(groups, (len(rows.validation), len(rows.test)), 1, exact=True)
    assert again is not None and [len(part) for part in again] == [len(part) for part in rows]


@given(st.lists(st.integers(0, 40), min_size=10, max_size=200))
def test_time_goes_on_from_split_to_split(times: list[int]) -> None:
    count = len(times)
    if len(set(times)) < 3:
        with pytest.raises(UserError, match="different times cannot be 3 splits"):
            timed_rows(times, (count // 5, count // 5))
        return
    rows = timed_rows(times, (count // 5, count // 5))
    assert is_partition(rows, count)
    train, validation, test = (np.array(times)[part] for part in rows)
    assert train.max() < validation.min() and validation.max() < test.min()


def test_dates_are_times() -> None:
    dates = np.datetime64("2020-01-01") + np.arange(10)[::-1]
    assert [rows.tolist() for rows in timed_rows(dates, (2, 3))] == [[9, 8, 7, 6, 5], [4, 3], [2, 1, 0]]


# --- split -----------------------------------------------------------------------------------------------------------


def arrays_of(labels: Any) -> dict[str, np.ndarray]:
    count = len(labels)
    return {"inputs": np.arange(float(count))[:, None], "targets": np.asarray(labels)}


def classes_of(dataset: Any) -> list[list[int]]:
    return [np.unique(getattr(dataset, part)["targets"]).tolist() for part in SPLITS]


def test_a_class_that_would_be_absent_from_a_split_is_given_its_share() -> None:
    rare = arrays_of(np.repeat([0, 1, 2], [200, 5, 5]))
    dataset = split("rare", rare)
    assert classes_of(split("rare", rare, stratify=False)) != [[0, 1, 2]] * 3, "what chance gives"
    for study in range(5):
        drawn = dataset.of_study(study)
        assert classes_of(drawn) == [[0, 1, 2]] * 3 and drawn.sizes == dataset.sizes
        assert sorted(np.concatenate([getattr(drawn, part)["inputs"][:, 0] for part in SPLITS])) == list(range(210))


def test_where_chance_is_right_nothing_changes() -> None:
    even = arrays_of(np.arange(300) % 3)
    assert split("even", even).digest == split("even", even, stratify=False).digest
    stratified = split("even", even, stratify=True)
    counts = [np.bincount(getattr(stratified, part)["targets"]).tolist() for part in SPLITS]
    assert counts == [[60] * 3, [20] * 3, [20] * 3]


@pytest.mark.parametrize("stratify", [None, True])
def test_a_class_too_rare_for_every_split_is_said(stratify: bool | None) -> None:
    with pytest.warns(UserWarning, match=r"dataset 'rare': class 2 has 1 example, and none in 'validation' and 'test'"):
        dataset = split("rare", arrays_of(np.repeat([0, 1, 2], [100, 50, 1])), stratify=stratify)
    assert 2 in dataset.train["targets"]


@pytest.mark.parametrize(
    "targets", [np.arange(60), np.linspace(0, 1, 60), np.eye(2)[np.arange(60) % 2], np.zeros(60, int)]
)
def test_what_is_no_class_is_left_to_chance(targets: np.ndarray) -> None:
    arrays = {"inputs": np.arange(60.0), "targets": targets}
    assert split("mine", arrays).digest == split("mine", arrays, stratify=False).digest


def test_strata_of_another_array_or_beside_the_data() -> None:
    sites = np.repeat(["Kiel", "Bonn"], [90, 10])
    beside = split("mine", {"inputs": np.arange(100.0)}, stratify=sites)
    assert [int((sites[getattr(beside, part)["inputs"].astype(int)] == "Bonn").sum()) for part in SPLITS] == [6, 2, 2]
    within = split("mine", {"inputs": np.arange(100.0), "site": (sites == "Bonn").astype(int)}, stratify="site")
    assert [int(getattr(within, part)["site"].sum()) for part in SPLITS] == [6, 2, 2]


def test_groups_stay_together_in_every_study() -> None:
    groups = np.repeat(np.arange(30), 4)
    dataset = split("mine", {"inputs": np.arange(120.0)}, groups=groups)
    drawn = [dataset.of_study(study) for study in range(3)]
    for each in drawn:
        assert each.sizes == (72, 24, 24)
        of_split = [set(groups[getattr(each, part)["inputs"].astype(int)].tolist()) for part in SPLITS]
        assert sum(map(len, of_split)) == 30
    assert len({each.digest for each in drawn}) == 3, "other groups in each study"
    assert pickle.loads(pickle.dumps(dataset)).of_study(2).digest == drawn[2].digest


def test_groups_of_which_there_is_one_division_are_fixed() -> None:
    groups = np.repeat(np.arange(3), [70, 20, 10])
    dataset = split("mine", {"inputs": np.arange(100.0)}, groups=groups, test=0.1)
    assert dataset.redraw is None and dataset.sizes == (70, 20, 10)


def test_later_examples_judge_in_every_study() -> None:
    arrays = {"inputs": np.arange(50.0), "year": np.arange(50)[::-1] // 5}
    dataset = split("mine", arrays, time="year")
    assert dataset.redraw is None
    years = [getattr(dataset, part)["year"] for part in SPLITS]
    assert years[0].max() < years[1].min() and years[1].max() < years[2].min()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stratify": "site"}, "dataset 'mine', stratify: no array 'site'; did you mean 'sites'"),
        (
            {"groups": [1, 2, 3]},
            r"dataset 'mine', groups: expected one label for each of 60 .* got shape \(3,\)",
        ),
        ({"time": np.zeros((60, 2))}, r"dataset 'mine', time: expected one label .* got shape \(60, 2\)"),
        ({"groups": np.arange(60) % 2}, "dataset 'mine': 2 groups cannot be 3 splits"),
        ({"time": np.arange(60) % 2}, "dataset 'mine': 2 different times cannot be 3 splits"),
        ({"stratify": np.arange(60)}, "dataset 'mine': 60 examples of 60 classes leave none of each for training"),
        ({"groups": "sites", "time": "sites"}, "dataset 'mine': groups and time do not go together; give one"),
        ({"stratify": True, "groups": "sites"}, "dataset 'mine': stratify and groups do not go together"),
    ],
)
def test_what_cannot_be_split_so(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split("mine", {"inputs": np.arange(60.0), "sites": np.arange(60) // 6}, **options)


def test_official_splits_by_class_group_and_time() -> None:
    labels = np.repeat([0, 1, 2], [280, 10, 10])
    test = arrays_of(np.arange(30) % 3)
    stratified = split_official("mine", arrays_of(labels), test, stratify=True)
    counts = np.bincount(stratified.validation["targets"])
    assert counts[0] in (46, 47) and set(counts[1:].tolist()) <= {1, 2} and counts.sum() == 50
    groups = np.arange(300) // 10
    grouped = split_official("mine", arrays_of(labels), test, groups=groups)
    of_split = [set(groups[getattr(grouped, part)["inputs"][:, 0].astype(int)].tolist()) for part in SPLITS[:2]]
    assert sum(map(len, of_split)) == 30 and grouped.sizes == (250, 50, 30)
    timed = split_official("mine", arrays_of(labels), test, time=np.arange(300))
    assert timed.validation["inputs"].min() == 250 and timed.train["inputs"].max() == 249
