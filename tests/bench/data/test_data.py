"""Datasets: splits by hand, scikit-learn's loaders, and a cache that may be anything."""

import io
import itertools
import pickle
import zipfile
from dataclasses import replace
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits
from sklearn.preprocessing import StandardScaler

from dlkit.bench import data, problems
from dlkit.bench.data import Dataset, cached, redrawn, require_labels, split, standardize, transformed
from dlkit.bench.data.base import SPLITS
from dlkit.bench.errors import UserError


def rows(count):
    return {"inputs": np.arange(2.0 * count).reshape(count, 2), "targets": np.arange(count)}


# --- split -----------------------------------------------------------------------------------------------------------


@given(st.integers(7, 300), st.sampled_from([(0.15, 0.15), (0.2, 0.2), (0.5, 0.25), (0.1, 0.3)]))
def test_shares(count, shares):
    validation, test = (round(Fraction(share).limit_denominator(100) * count) for share in shares)
    if min(validation, test, count - validation - test) < 1:
        return
    dataset = split("x", rows(count), validation=shares[0], test=shares[1])
    sizes = [len(getattr(dataset, part)["targets"]) for part in SPLITS]
    assert np.abs(np.array(sizes) - [count - validation - test, validation, test]).max() <= 1  # halves may round
    assert sum(sizes) == count
    assert dataset.examples == sizes[0]


@given(st.integers(7, 300), st.text(min_size=1))
def test_every_example_is_in_one_split_with_its_own_target(count, name):
    dataset = split(name, rows(count))
    parts = [getattr(dataset, part) for part in SPLITS]
    assert sorted(np.concatenate([part["targets"] for part in parts])) == list(range(count))
    for part in parts:
        np.testing.assert_array_equal(part["inputs"][:, 0], 2 * part["targets"])


def test_the_name_and_the_count_alone_decide_the_shuffle():
    first, again = split("a", rows(50)), split("a", {"targets": np.arange(50), "other": np.ones(50)})
    for part in SPLITS:
        np.testing.assert_array_equal(getattr(first, part)["targets"], getattr(again, part)["targets"])
    assert split("a", rows(50)).digest == first.digest
    assert not np.array_equal(split("b", rows(50)).train["targets"], first.train["targets"])
    assert not np.array_equal(np.sort(first.train["targets"]), first.train["targets"])  # it is shuffled


def test_lists_and_jax_arrays_are_arrays():
    dataset = split("x", {"inputs": [[1.0], [2.0], [3.0]] * 5, "targets": jnp.arange(15)})
    assert all(isinstance(array, np.ndarray) for part in SPLITS for array in getattr(dataset, part).values())


# --- what is refused -------------------------------------------------------------------------------------------------

ONES = {"inputs": np.ones((4, 3)), "targets": np.ones(4)}


@pytest.mark.parametrize("part", SPLITS)
@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "inputs",
            np.array([[1.0] * 3, [1.0, np.nan, 1.0], [np.inf] * 3, [1.0] * 3]),
            "4 of 12 entries .* index (1, 1)",
        ),
        ("targets", np.array([1.0, 1.0, 1.0, -np.inf]), "1 of 4 entries are NaN or infinite, the first at index (3,)"),
        (
            "targets",
            np.array(["a", "b", "c", "d"]),
            "got texts (dtype <U1), the first 'a' at index (0,); encode categories",
        ),
        (
            "targets",
            np.array([1, None, 2, 3]),
            "got None, a missing value, at index (1,); remove",
        ),
        ("targets", np.array([1, 2, 3, 4], "m8[s]"), "durations (timedelta64[s]); turn them into numbers"),
        ("targets", np.float32(3), "expected one entry per example, got a single number"),
    ],
)
def test_arrays_that_cannot_be_trained_on(part, name, array, message):
    parts = {each: dict(ONES) for each in SPLITS}
    parts[part][name] = array
    start = f"dataset 'mine', split '{part}', array '{name}': "
    with pytest.raises(UserError) as error:
        Dataset("mine", **parts)
    assert str(error.value).startswith(start)
    for piece in message.split(" .* "):
        assert piece in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": np.ones(5)}, "every array needs the same number of examples, but got {'inputs': 4, 'targets': 5}"),
        ({"inputs": np.ones((0, 3)), "targets": np.ones(0)}, "its arrays have no examples"),
        (
            {"extra": np.ones(4)},
            "expected the arrays of 'train', ['inputs', 'targets'], got ['extra', 'inputs', 'targets",
        ),
    ],
)
def test_splits_that_do_not_fit(change, message):
    with pytest.raises(UserError) as error:
        Dataset("mine", ONES, {**ONES, **change}, ONES)
    assert str(error.value).startswith("dataset 'mine', split 'validation': ")
    assert message in str(error.value)


def test_a_missing_split():
    with pytest.raises(
        UserError, match=r"split 'validation': expected the arrays of 'train', \['inputs', 'targets'\], got \[\]"
    ):
        Dataset("mine", ONES, {}, ONES)


def table(examples, **others):
    return {"inputs": np.arange(3.0 * examples).reshape(examples, 3), "targets": np.arange(examples), **others}


@pytest.mark.parametrize(("given", "kept", "judging"), [(2, 1, 1), (7, 4, 3), (100, 50, 50)])
def test_without_a_test_split_half_of_validation_is_it(given, kept, judging):
    dataset = Dataset("mine", table(5), table(given))
    assert dataset.sizes == (5, kept, judging)
    both = np.concatenate([dataset.validation["targets"], dataset.test["targets"]])
    assert sorted(both) == list(range(given)), "each example is in one of the two"
    for part in (dataset.validation, dataset.test):
        np.testing.assert_array_equal(part["inputs"][:, 0], 3.0 * part["targets"])


def test_values_alone_decide_which_half_judges():
    first, renamed = (Dataset(name, table(5), table(40)) for name in ("mine", "yours"))
    other = Dataset("mine", table(5), {**table(40), "inputs": np.ones((40, 3))})
    np.testing.assert_array_equal(first.test["targets"], renamed.test["targets"])
    assert first.test["targets"].tolist() != other.test["targets"].tolist()
    assert first.test["targets"].tolist() != list(range(20, 40)), "shuffled"


def test_one_example_cannot_select_and_judge():
    with pytest.raises(UserError, match=r"has one example and there is no test split: .*; give a test split"):
        Dataset("mine", table(5), table(1))


def test_whether_anything_is_held_out():
    assert not Dataset("none", {}, {}).holds_out
    assert not Dataset("mine", table(5), table(5), table(5)).holds_out, "the same values"
    other = {**table(5), "targets": np.ones(5, int)}
    assert Dataset("mine", table(5), other, {**other, "inputs": np.ones((5, 3))}).holds_out
    assert Dataset("mine", table(5), table(4), table(3)).holds_out


@pytest.mark.parametrize(
    ("splits", "twins"),
    [
        ((5, 5, 4), "'train' and 'validation'"),
        ((5, 4, 5), "'train' and 'test'"),
        ((5, 4, 4), "'validation' and 'test'"),
        ((5, 5, None), "'train' and 'validation'"),
    ],
)
def test_two_splits_that_are_the_same(splits, twins):
    with pytest.raises(UserError, match=rf"dataset 'mine': {twins} have the same examples, .* all three the same"):
        Dataset("mine", *(table(count) for count in splits if count))


# --- splits that are drawn anew --------------------------------------------------------------------------------------


def test_each_study_splits_few_examples_anew():
    dataset = split("mine", table(50))
    assert dataset.of_study(0) is dataset
    for study in (1, 2, 999):
        drawn, again = dataset.of_study(study), split("mine", table(50)).of_study(study)
        assert drawn.sizes == dataset.sizes == (30, 10, 10)
        assert drawn.digest == again.digest, "the same at every call"
        assert sorted(np.concatenate([getattr(drawn, part)["targets"] for part in SPLITS])) == list(range(50))
        np.testing.assert_array_equal(drawn.test["inputs"][:, 0], 3.0 * drawn.test["targets"])
        assert drawn.test["targets"].tolist() != dataset.test["targets"].tolist()
    assert dataset.of_study(1).test["targets"].tolist() != dataset.of_study(2).test["targets"].tolist()


def test_a_fixed_split_is_the_same_in_every_study():
    fixed = split("mine", table(50), redraw=False)
    assert fixed.redraw is None and fixed.of_study(7) is fixed
    assert fixed.test["targets"].tolist() == split("mine", table(50)).test["targets"].tolist(), "the first study's"
    assert fixed.digest != split("mine", table(50)).digest, "later studies have other examples"
    many = {"targets": np.arange(20_001)}
    assert split("many", many).redraw is None and split("many", many, redraw=True).redraw is not None


def test_each_study_is_standardized_by_its_own_training_split():
    dataset = standardize(split("mine", table(50)), "inputs")
    for study in range(3):
        drawn = dataset.of_study(study)
        np.testing.assert_allclose(drawn.train["inputs"].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(drawn.train["inputs"].std(axis=0), 1, atol=1e-6)
        assert abs(drawn.test["inputs"].mean()) > 1e-3, "test decides nothing"


def test_a_change_reaches_every_study_and_other_arrays_do_not_keep_the_old_ones():
    dataset = split("mine", table(50))
    doubled = transformed(
        dataset,
        lambda each: Dataset(each.name, *({"inputs": 2 * getattr(each, part)["inputs"]} for part in SPLITS)),
    )
    for study in range(2):
        np.testing.assert_array_equal(
            doubled.of_study(study).test["inputs"], 2 * dataset.of_study(study).test["inputs"]
        )
    assert replace(dataset, name="yours").redraw is None
    assert transformed(split("mine", table(50), redraw=False), lambda each: each).redraw is None


def test_every_study_needs_arrays_of_the_same_shapes():
    dataset = redrawn(lambda study: Dataset("mine", table(5 + study), table(4), table(3)))
    with pytest.raises(UserError, match=r"dataset 'mine': every study needs .* in study 2 and .* in study 0"):
        dataset.of_study(2)


def test_a_redrawn_dataset_travels_to_workers():
    dataset = standardize(split("mine", table(50)), "inputs")
    text = pickle.dumps(dataset)
    there = pickle.loads(text)
    assert there.digest == dataset.digest and there.of_study(3).digest == dataset.of_study(3).digest
    assert (there.name, there.source, there.sizes) == (dataset.name, dataset.source, dataset.sizes)
    bytes_of_data = sum(array.nbytes for array in table(50).values())
    assert bytes_of_data < len(text) < bytes_of_data + 1500, "once"


def test_split_names_the_index_that_the_user_knows():
    arrays = {"inputs": np.ones((100, 2)), "targets": np.ones(100)}
    arrays["inputs"][37, 1] = np.nan
    with pytest.raises(
        UserError, match=r"dataset 'mine', array 'inputs': 1 of 200 .* index \(37, 1\); remove or impute"
    ):
        split("mine", arrays)


@pytest.mark.parametrize(
    ("arrays", "shares", "message"),
    [
        ({}, {}, "dataset 'mine': there are no arrays to split"),
        ({"a": np.ones(3), "b": np.ones(4)}, {}, "dataset 'mine': every array needs the same number of examples"),
        ({"a": np.float64(1)}, {}, "dataset 'mine', array 'a': expected one entry per example"),
        ({"a": np.ones(0)}, {}, "dataset 'mine': its arrays have no examples"),
        ({"a": np.ones(2)}, {}, "dataset 'mine': 2 examples cannot be split into shares 0.2 and 0.2"),
        ({"a": np.ones(30)}, {"validation": 0.6, "test": 0.4}, "30 examples cannot be split into shares 0.6 and 0.4"),
        ({"a": np.ones(30)}, {"validation": -0.2}, "30 examples cannot be split into shares -0.2 and 0.2"),
        ({"a": np.ones(30)}, {"test": 0.0}, "30 examples cannot be split into shares 0.2 and 0.0"),
    ],
)
def test_examples_that_cannot_be_split(arrays, shares, message):
    with pytest.raises(UserError) as error:
        split("mine", arrays, **shares)
    assert message in str(error.value)


def test_no_data_at_all():
    dataset = Dataset("none", {}, {}, {})
    assert dataset.examples == 0
    assert dataset.digest == Dataset("other", {}, {}, {}, source="elsewhere").digest


# --- digest ----------------------------------------------------------------------------------------------------------


def test_the_digest_changes_with_every_part_of_the_content():
    base = {"a": np.arange(4, dtype=np.int32), "b": np.arange(8.0).reshape(4, 2)}
    variants = {
        "same": base,
        "one bit": {**base, "a": np.array([0, 1, 2, 2], np.int32)},
        "type": {**base, "a": base["a"].astype(np.uint32)},
        "width": {**base, "b": base["b"].astype(np.float32)},
        "shape": {**base, "b": base["b"].reshape(4, 1, 2)},
        "order": {**base, "b": base["b"][::-1]},
        "sign of zero": {**base, "b": np.where(base["b"] == 0, -0.0, base["b"])},
        "name": {"a": base["a"], "c": base["b"]},
        "names swapped": {"b": base["a"], "a": base["b"]},
        "fewer": {"a": base["a"]},
    }
    digests = {name: Dataset("x", arrays, arrays, arrays).digest for name, arrays in variants.items()}
    other = {**base, "a": base["a"] + 1}
    third = {**base, "a": base["a"] + 2}
    orders = itertools.permutations([base, other, third])
    digests |= {f"order {place}": Dataset("x", *splits).digest for place, splits in enumerate(orders)}
    assert len(set(digests.values())) == len(digests)


def test_the_digest_depends_on_content_alone():
    base = {"a": np.arange(4), "b": np.arange(8.0).reshape(4, 2)}
    layout = {"b": np.asfortranarray(base["b"]).astype(">f8"), "a": np.repeat(base["a"], 2)[::2]}
    assert Dataset("x", layout, layout, layout).digest == Dataset("y", base, base, base, source="z").digest


# --- standardize -----------------------------------------------------------------------------------------------------


def test_standardize_matches_scikit_learn():
    rng = np.random.default_rng(0)
    arrays = {"inputs": rng.normal(5.0, [1e-3, 1.0, 1e4], (60, 3)), "targets": rng.normal(size=60)}
    before = split("x", arrays, source="here")
    after = standardize(before, "inputs")
    scaler = StandardScaler().fit(before.train["inputs"])
    for part in SPLITS:
        expected = scaler.transform(getattr(before, part)["inputs"])
        np.testing.assert_allclose(getattr(after, part)["inputs"], expected, rtol=1e-6, atol=1e-6)
        assert getattr(after, part)["inputs"].dtype == np.float32
        np.testing.assert_array_equal(getattr(after, part)["targets"], getattr(before, part)["targets"])
    assert (after.name, after.source) == ("x", "here")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_columns_are_only_shifted(dtype):
    inputs = np.stack([np.full(700, 0.1), np.arange(700.0)], axis=1).astype(dtype)
    after = standardize(split("x", {"inputs": inputs}), "inputs")
    for part in SPLITS:
        np.testing.assert_array_equal(getattr(after, part)["inputs"][:, 0], 0.0)
    assert after.train["inputs"][:, 1].std() == pytest.approx(1.0, rel=1e-5)


def test_integers_can_be_standardized():
    after = standardize(split("x", {"inputs": np.arange(100)}), "inputs")
    assert after.train["inputs"].mean() == pytest.approx(0.0, abs=1e-6)


# --- cache -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data" / "mine-1.npz"


class Loader:
    """Makes arrays and counts how often."""

    def __init__(self):
        self.calls = 0
        self.arrays = {"inputs": np.array([[0.1, -0.0], [2.0, 3.0]], np.float32), "a/b": np.array([True, False])}

    def __call__(self):
        self.calls += 1
        return self.arrays


def same(first, second):
    def bits(arrays):
        return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}

    return bits(first) == bits(second)


def test_the_second_load_comes_from_the_cache(cache):
    loader = Loader()
    first, second = cached("mine-1", loader), cached("mine-1", loader)
    assert loader.calls == 1
    assert same(first, loader.arrays) and same(second, loader.arrays)
    assert [path.name for path in cache.parent.iterdir()] == ["mine-1.npz"]  # nothing temporary is left


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


def altered(good):
    """A whole and valid file, of other numbers."""
    with np.load(io.BytesIO(good)) as stored:
        return npz(**{**stored, "inputs": stored["inputs"] + 1})


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train/inputs.npy", "no array")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: b"hello",
        lambda good: b"\x80\x04N.",  # a pickle
        lambda good: good[:100],
        lambda good: good[: len(good) // 2],
        lambda good: good[:-1],
        lambda good: good[:-30],
        lambda good: good[:60] + b"\xff" * 30 + good[90:],
        lambda good: good.replace(b"'descr'", b"'dexcr'"),
        lambda good: good.replace(np.float32(2).tobytes(), np.float32(4).tobytes()),
        lambda good: npy(),
        lambda good: npz(a=np.ones(3)),
        lambda good: npz(**{"inputs": np.ones(2), "dlkit-digest": "0"}),
        lambda good: zipped(),
        altered,
    ],
)
def test_a_damaged_cache_is_made_anew(cache, damage):
    cached("mine-1", Loader())
    good = cache.read_bytes()
    assert damage(good) != good
    cache.write_bytes(damage(good))
    loader = Loader()
    assert same(cached("mine-1", loader), loader.arrays)
    assert loader.calls == 1
    assert cache.stat().st_size == len(good)
    assert same(cached("mine-1", loader), loader.arrays)
    assert loader.calls == 1


def test_every_flipped_byte_is_noticed_or_harmless(cache):
    loader = Loader()
    cached("mine-1", loader)
    good = cache.read_bytes()
    for place in range(0, len(good), 37):
        cache.write_bytes(good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :])
        assert same(cached("mine-1", loader), loader.arrays)


def test_a_folder_in_the_files_place(cache):
    cache.mkdir(parents=True)
    loader = Loader()
    assert same(cached("mine-1", loader), loader.arrays)
    assert list(cache.parent.iterdir()) == [cache]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path / "file" / "cache"))
    loader = Loader()
    assert same(cached("mine-1", loader), loader.arrays)
    assert same(cached("mine-1", loader), loader.arrays)
    assert loader.calls == 2


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch):
    def full(file, **arrays):
        file.write(b"the beginning")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    loader = Loader()
    assert same(cached("mine-1", loader), loader.arrays)
    assert list(cache.parent.iterdir()) == []


# --- the datasets ----------------------------------------------------------------------------------------------------


def together(dataset, name):
    return np.concatenate([getattr(dataset, part)[name] for part in SPLITS])


def in_order(table):
    return table[np.lexsort(table.T)]


def test_digits_are_scikit_learns(cache):
    images, labels = load_digits(return_X_y=True)
    for dataset in (data.digits(), data.digits()):  # made, then from the cache
        assert [len(getattr(dataset, part)["targets"]) for part in SPLITS] == [1079, 359, 359]
        found = np.column_stack([together(dataset, "inputs") * 16, together(dataset, "targets")])
        np.testing.assert_array_equal(in_order(found), in_order(np.column_stack([images, labels])))
        assert dataset.train["inputs"].dtype == np.float32 and dataset.train["targets"].dtype == np.int32
        assert set(dataset.validation["targets"]) == set(range(10))


def test_diabetes_is_scikit_learns(cache):
    features, progression = load_diabetes(return_X_y=True, scaled=False)
    for dataset in (data.diabetes(), data.diabetes()):
        assert [len(getattr(dataset, part)["targets"]) for part in SPLITS] == [222, 110, 110]
        np.testing.assert_allclose(dataset.train["inputs"].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(dataset.train["inputs"].std(axis=0), 1, atol=1e-5)
        assert dataset.train["targets"].std() == pytest.approx(1, abs=1e-5)
        assert dataset.train["inputs"].dtype == dataset.train["targets"].dtype == np.float32
        # standardizing is the one affine map per column that turns the loader's values into ours, matched by rank
        columns = np.column_stack([together(dataset, "inputs"), together(dataset, "targets")])
        for ours, theirs in zip(columns.T, np.column_stack([features, progression]).T, strict=True):
            ours, theirs = np.sort(ours.astype(np.float64)), np.sort(theirs)
            slope, offset = np.polyfit(ours, theirs, 1)
            assert slope > 0
            np.testing.assert_allclose(slope * ours + offset, theirs, rtol=1e-4, atol=1e-4 * np.ptp(theirs))
        # and rows stay together: the affine maps, applied to whole rows, give the loader's rows
        fits = [
            np.polyfit(np.sort(a), np.sort(b), 1) for a, b in zip(columns.T.astype(float), features.T, strict=False)
        ]
        back = np.column_stack(
            [slope * column + offset for (slope, offset), column in zip(fits, columns.T, strict=False)]
        )
        distances = np.abs(back[:, None, :] - features[None]).max(axis=2)
        assert sorted(distances.argmin(axis=1)) == list(range(442))
        assert distances.min(axis=1).max() < 0.01


def test_no_test_example_decides_how_diabetes_is_standardized(cache):
    dataset = data.diabetes()
    assert abs(together(dataset, "targets").mean()) > 1e-4


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1, 3], "expected class indices from 0 to 2, got 3 at index (2,); number the classes from 0, or give"),
        ([0, -1, 2], "expected class indices from 0 to 2, got -1 at index (1,); number the classes from 0"),
        ([0.0, 1.0, 2.0], "expected class indices from 0 to 2, got dtype float64; convert them to integers"),
    ],
)
def test_labels_that_are_no_classes(targets, message):
    good = {"targets": np.array([0, 1, 2])}
    dtype = np.asarray(targets).dtype
    train, test = ({"targets": np.array(labels, dtype)} for labels in ([2, 1, 0], [2, 1, 1]))
    dataset = Dataset("mine", train, {"targets": np.array(targets)}, test)
    with pytest.raises(UserError) as error:
        require_labels(dataset, "targets", 3)
    part = "train" if dtype.kind == "f" else "validation"
    assert str(error.value).startswith(f"dataset 'mine', split '{part}', array 'targets': ")
    assert message in str(error.value)
    require_labels(Dataset("mine", good, good, good), "targets", 3)


def test_problems_refuse_labels_that_their_model_has_no_output_for():
    from dlkit import layers

    arrays = {"inputs": np.ones((40, 3), np.float32), "targets": np.arange(40) % 4}
    message = r"dataset 'mine', split 'train', array 'targets': expected class indices from 0 to 2, got 3 at index"
    with pytest.raises(UserError, match=message):
        problems.classification("own", layers.dense(3), split("mine", arrays), batch_size=8, steps=4)
