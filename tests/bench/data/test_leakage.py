"""Leakage: planted copies and near copies are found where they are, chance is not, and the catalogue has none."""

import sys
from functools import cache

import numpy as np
import pytest

from dlkit import bench, models
from dlkit.bench import data, problems
from dlkit.bench.data import Dataset, leakage
from dlkit.bench.data.base import SPLITS
from dlkit.bench.errors import UserError
from dlkit.bench.problems import ENTRIES, FAMILIES, catalog
from dlkit.bench.problems.base import Problem

RNG = np.random.default_rng(0)


def apart(count: int = 600, width: int = 8, *, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Splits of independent examples."""
    rng = np.random.default_rng(seed)
    return {
        part: {
            "inputs": rng.standard_normal((size, width)).astype(np.float32),
            "targets": rng.integers(0, 3, size),
        }
        for part, size in zip(SPLITS, (count, count // 3, count // 3), strict=True)
    }


def found(splits: dict[str, dict[str, np.ndarray]]) -> list[tuple[str, str, str, list[int], list[int]]]:
    shared = leakage(Dataset("mine", **splits)).shared
    return [(each.split, each.other, each.kind, each.rows.tolist(), each.matches.tolist()) for each in shared]


# --- copies ----------------------------------------------------------------------------------------------------------


def test_copies_are_found_where_they_are() -> None:
    splits = apart()
    for name in ("inputs", "targets"):
        splits["validation"][name][[7, 30]] = splits["train"][name][[500, 2]]
        splits["test"][name][11] = splits["train"][name][42]
        splits["test"][name][12] = splits["validation"][name][99]
    assert found(splits) == [
        ("validation", "train", "examples", [7, 30], [500, 2]),
        ("test", "train", "examples", [11], [42]),
        ("test", "validation", "examples", [12], [99]),
    ]


def test_the_same_inputs_with_other_targets_are_told_apart() -> None:
    splits = apart()
    splits["test"]["inputs"][5] = splits["train"]["inputs"][6]
    splits["test"]["targets"][5] = splits["train"]["targets"][6] + 1
    assert found(splits) == [("test", "train", "inputs", [5], [6])]
    weighted = {part: {**arrays, "weights": RNG.random(len(arrays["targets"]))} for part, arrays in splits.items()}
    assert found(weighted) == [("test", "train", "inputs", [5], [6])]


def test_the_first_copy_is_named_and_copies_within_a_split_are_none() -> None:
    splits = apart()
    for name in ("inputs", "targets"):
        splits["train"][name][[3, 4]] = splits["train"][name][200]
    assert found(splits) == []
    for name in ("inputs", "targets"):
        splits["validation"][name][0] = splits["train"][name][200]
    assert found(splits) == [("validation", "train", "examples", [0], [3])]


def test_zeros_of_either_sign_are_the_same() -> None:
    splits = apart()
    splits["train"]["inputs"][9], splits["train"]["targets"][9] = 0.0, 1
    splits["test"]["inputs"][8], splits["test"]["targets"][8] = -0.0, 1
    assert found(splits)[0][:4] == ("test", "train", "examples", [8])


def test_one_split_for_two_purposes() -> None:
    """Two whole splits that are the same are refused; the same but for one example, they are found."""
    splits = apart()
    but_one = {name: array[1:] for name, array in splits["test"].items()}
    both = Dataset("mine", splits["train"], splits["test"], but_one)
    assert leakage(both).count("examples", "test", "validation") == len(but_one["targets"])
    but_one = {name: array[1:] for name, array in splits["train"].items()}
    selected_on_training = Dataset("mine", splits["train"], but_one, splits["test"])
    assert leakage(selected_on_training).count("examples", "validation") == 599


def test_data_of_ones_own_that_leak_are_told_in_the_verdict() -> None:
    splits = {part: {**arrays, "targets": arrays["inputs"][:, 0]} for part, arrays in apart().items()}
    but_one = {name: array[1:] for name, array in splits["train"].items()}
    dataset = Dataset("mine", splits["train"], splits["validation"], but_one)
    problem = problems.regression("mine", models.mlp((1,)), dataset, batch_size=8, steps=4)
    experiment = bench.Experiment(
        name="leaking",
        problems=(bench.ProblemChoice(problem=problem),),
        optimizers=(bench.Contender(optimizer="sgd"), bench.Contender(optimizer="adam")),
        budget=bench.Budget(studies=2, tuning_points=1, seeds=1, evaluations=2),
    )
    sentence = "dataset 'mine': 599 of 599 examples of 'test' are in 'train' too"
    assert any(sentence in each for each in bench.check(experiment).sentences)
    result = bench.run(experiment, resources=bench.Resources(executor="inline"), progress=False)
    (comparison,) = result.summary.comparisons
    assert any(sentence in note for note in comparison.verdict.notes)


def test_where_nothing_is_held_out_nothing_leaks() -> None:
    arrays = apart()["train"]
    for dataset in (Dataset("mine", arrays, arrays, arrays), Dataset("none", {}, {}, {})):
        answer = leakage(dataset)
        assert not answer.holds_out and not answer.shared and not answer.sentences


# --- near duplicates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numbers", "images", "bytes", "units"])
def test_noisy_copies_are_found(kind: str) -> None:
    splits = apart(width=64)
    noise = 0.01 * RNG.standard_normal((2, 64)).astype(np.float32)
    splits["validation"]["inputs"][[3, 50]] = splits["train"]["inputs"][[10, 20]] + noise
    for arrays in splits.values():
        if kind == "images":
            arrays["inputs"] = arrays["inputs"].reshape(-1, 8, 8, 1)
        if kind == "bytes":  # the noise is at most 3 of 256 grey values
            arrays["inputs"] = np.clip(128 + 30 * arrays["inputs"], 0, 255).round().astype(np.uint8)
        if kind == "units":  # one column is in other units and would drown all others
            arrays["inputs"][:, 0] *= 1e6
    assert found(splits) == [("validation", "train", "nearly", [3, 50], [10, 20])]


def independent(kind: str, seed: int, count: int = 400) -> dict[str, dict[str, np.ndarray]]:
    """Splits of independent examples that come close to each other, each kind in its own way."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((count, 10))
    is_dense, classes = rng.random((count, 1)) < 0.2, rng.integers(0, 10, count)
    inputs = {
        "1 dimension": normal[:, :1],
        "2 dimensions": normal[:, :2],
        "3 dimensions": normal[:, :3],
        "10 dimensions": normal,
        "phases of sines": np.sin(np.linspace(0, 2 * np.pi, 20) + rng.uniform(0, 2 * np.pi, (count, 1))),
        "classes and a number": np.concatenate([np.eye(10)[classes], normal[:, :1]], axis=1),
        "a dense cluster": np.where(is_dense, 0.01, 1.0) * normal,
        "rounded": normal[:, :3].round(1),
        "yes and no": (rng.standard_normal((count, 20)) + 2 * normal[:, :1] > 0).astype(np.float64),
    }[kind].astype(np.float32)
    arrays = {"inputs": inputs, "targets": rng.integers(0, 2, count)}
    cuts = (slice(count // 2), slice(count // 2, 3 * count // 4), slice(3 * count // 4, count))
    return {part: {name: array[cut] for name, array in arrays.items()} for part, cut in zip(SPLITS, cuts, strict=True)}


KINDS = ("1 dimension", "2 dimensions", "3 dimensions", "10 dimensions", "phases of sines", "classes and a number")
KINDS += ("a dense cluster", "rounded", "yes and no")


@pytest.mark.parametrize("kind", KINDS)
def test_chance_is_not_suspected(kind: str) -> None:
    suspected = sum(bool(leakage(Dataset("mine", **independent(kind, seed))).shared) for seed in range(40))
    # At 5 % of the data sets, 7 or more of 40 have a chance of 0.3 %.
    assert suspected < 7


@pytest.mark.parametrize("kind", ["10 dimensions", "a dense cluster", "rounded"])
def test_copies_are_found_where_chance_brings_few(kind: str) -> None:
    splits = independent(kind, seed=0)
    for name in ("inputs", "targets"):
        splits["validation"][name][20:40] = splits["train"][name][50:70]
    (copies,) = [each for each in leakage(Dataset("mine", **splits)).shared if each.split == "validation"]
    assert copies.kind == "examples" and set(range(20, 40)) <= set(copies.rows.tolist())


def test_near_copies_within_train_do_not_hide_those_of_validation() -> None:
    splits, noise = independent("10 dimensions", seed=0), RNG.normal(0.0, 1e-3, (2, 2, 10)).astype(np.float32)
    splits["train"]["inputs"][[5, 6]] = splits["train"]["inputs"][[7, 8]] + noise[0]
    splits["validation"]["inputs"][[1, 2]] = splits["train"]["inputs"][[30, 40]] + noise[1]
    assert found(splits) == [("validation", "train", "nearly", [1, 2], [30, 40])]


def test_what_is_no_dataset_is_refused() -> None:
    with pytest.raises(UserError, match=r"looks through a Dataset, not dict; make one: bench.Dataset\("):
        leakage({"inputs": np.zeros((3, 2))})  # type: ignore[arg-type]


@pytest.mark.long
def test_millions_of_rows_take_no_loop_over_them() -> None:
    train, validation, test = (
        {"inputs": np.random.default_rng(seed).standard_normal((400_000, 2))} for seed in range(3)
    )
    validation["inputs"][[9, 70_000]] = train["inputs"][[123_456, 5]]
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        answer = leakage(Dataset("mine", train, validation, test))
    finally:
        sys.setprofile(None)
    (copies,) = answer.shared
    assert (copies.kind, copies.rows.tolist(), copies.matches.tolist()) == ("examples", [9, 70_000], [123_456, 5])
    assert len(calls) < 100_000, "as many as a loop over rows would make"


def test_large_data_are_sampled() -> None:
    count, width = 6000, 400
    splits = apart(count, width)
    splits["test"] = {**splits["train"], "inputs": splits["train"]["inputs"] + np.float32(1e-4)}
    answer = leakage(Dataset("mine", **splits))
    (near,) = [each for each in answer.shared if each.split == "test" and each.other == "train"]
    assert near.kind == "nearly" and near.examined < count
    assert (near.rows == near.matches).all()
    # All are copies: those in a sample of either split are found.
    assert 0.8 < len(near.rows) / (near.examined**2 / count) < 1.2


# --- statistics ------------------------------------------------------------------------------------------------------


def test_standardizing_over_all_splits_is_seen() -> None:
    raw = {"inputs": RNG.normal(3.0, 2.0, (300, 5)), "targets": RNG.integers(0, 2, 300)}
    right = data.standardize(data.split("mine", raw), "inputs")
    inputs = raw["inputs"]
    wrong = data.split("mine", {**raw, "inputs": ((inputs - inputs.mean(0)) / inputs.std(0)).astype(np.float32)})
    assert leakage(right).fitted_on_all == [] and not leakage(right).sentences
    assert leakage(wrong).fitted_on_all == ["inputs"]
    (sentence,) = leakage(wrong).sentences
    assert sentence.startswith("dataset 'mine', array 'inputs': standardized over all splits together; ")


# --- in words --------------------------------------------------------------------------------------------------------


def test_what_was_found_is_said() -> None:
    splits = apart()
    for name in ("inputs", "targets"):
        splits["test"][name][[11, 12]] = splits["train"][name][[42, 43]]
    answer = leakage(Dataset("mine", **splits))
    assert answer.sentences == (
        "dataset 'mine': 2 of 200 examples of 'test' are in 'train' too (the same examples; the first at index 11, "
        "there 42); remove them, or keep what belongs together in one split.",
    )
    assert (answer.count("examples"), answer.count("examples", "validation"), answer.count("nearly")) == (2, 0, 0)


@pytest.mark.parametrize("leaks", [True, False])
def test_a_check_of_an_experiment_warns_of_own_data(leaks: bool) -> None:
    splits = apart()
    if leaks:
        for name in ("inputs", "targets"):
            splits["validation"][name][4] = splits["train"][name][5]
    own = problems.classification("own", models.mlp((3,)), Dataset("mine", **splits), batch_size=8, steps=20)
    experiment = bench.Experiment(
        name="x",
        problems=(bench.ProblemChoice(problem=own), bench.ProblemChoice(problem="diabetes-linear")),
        optimizers=(bench.Contender(optimizer="sgd"), bench.Contender(optimizer="adam")),
    )
    warned = [each for each in bench.check(experiment).sentences if each.startswith("dataset 'mine'")]
    assert len(warned) == leaks


# --- the catalogue ---------------------------------------------------------------------------------------------------

HELD_OUT = [name for name in ENTRIES if name not in FAMILIES["exact"] and ENTRIES[name].needs != "choice path"]
# Its parts are stretches of one text, whose passages may repeat from any place on: see below.
TEXTS = ("text-lstm", "text-transformer")


@cache
def problem_of(name: str) -> Problem:
    try:
        return catalog.get(name)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in HELD_OUT if name not in TEXTS])
def test_no_problem_leaks(name: str) -> None:
    dataset = problem_of(name).dataset
    answer = leakage(dataset)
    assert answer.holds_out and answer.sentences == ()
    # No two examples have the same inputs, so no study's split can share any.
    inputs = [getattr(dataset, part)["inputs"] for part in SPLITS]
    distinct = {row.tobytes() for array in inputs for row in array}
    assert len(distinct) == sum(dataset.sizes)


@pytest.mark.parametrize("name", FAMILIES["exact"])
def test_objectives_hold_nothing_out(name: str) -> None:
    assert not leakage(problem_of(name).dataset).holds_out


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["diabetes-linear", "diabetes-quantile", "wine-mlp", "breast-cancer-mlp", "basic-motions"]
)
def test_tables_are_standardized_on_their_training_examples(name: str) -> None:
    dataset = problem_of(name).dataset
    axes = tuple(range(dataset.train["inputs"].ndim - 1))
    moments = {part: getattr(dataset, part)["inputs"].astype(np.float64).mean(axis=axes) for part in SPLITS}
    np.testing.assert_allclose(moments["train"], 0, atol=1e-5)
    np.testing.assert_allclose(dataset.train["inputs"].std(axis=axes), 1, atol=1e-4)
    assert np.abs(moments["test"]).max() > 1e-3 and np.abs(moments["validation"]).max() > 1e-3


@pytest.mark.long
def test_texts_are_cut_before_they_are_sequences_and_repeat_little() -> None:
    dataset = problem_of("text-lstm").dataset
    # Each part is one stretch of the text, in order: a sequence goes on where the one before ends.
    for part in SPLITS:
        arrays = getattr(dataset, part)
        np.testing.assert_array_equal(arrays["targets"][:-1, -1], arrays["inputs"][1:, 0])
    # The alphabet is that of the training part: all of its ids are there, from 1, and no other ids elsewhere.
    ids = [np.unique(getattr(dataset, part)["inputs"]) for part in SPLITS]
    np.testing.assert_array_equal(ids[0], np.arange(1, ids[0].max() + 1))
    assert all(set(each.tolist()) <= {0, *ids[0].tolist()} for each in ids[1:])
    # Sections that topics share are there once. What is left of repeats is said in the dataset's docstring.
    shares = [repeated_share(dataset, part) for part in ("validation", "test")]
    assert shares[0] < 0.05 and shares[1] < 0.1  # 0.10 and 0.23 with them


def repeated_share(dataset: Dataset, part: str, length: int = 48) -> float:
    """The share of a part's characters in passages of that length that the training part has, wherever they start."""

    def passages(name: str) -> list[bytes]:
        ids = np.ascontiguousarray(getattr(dataset, name)["inputs"]).ravel()
        return [ids[start : start + length].tobytes() for start in range(len(ids) - length + 1)]

    known, ours = set(passages("train")), passages(part)
    is_repeated = np.zeros(len(ours) + length - 1, bool)
    for start, each in enumerate(ours):
        if each in known:
            is_repeated[start : start + length] = True
    return float(is_repeated.mean())
