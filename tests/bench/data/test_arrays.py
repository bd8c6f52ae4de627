"""Where arrays enter: what is given arrives at the device as it is, or is refused with what it is and what to do."""

import datetime
import decimal
import fractions
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO

from dlkit import bench
from dlkit.bench.data import Dataset, as_array, split, standardize
from dlkit.bench.data.arrays import too_fine
from dlkit.bench.errors import UserError

RNG = np.random.default_rng(0)
COUNT = 120
X = RNG.normal(size=(COUNT, 4))
Y = np.arange(COUNT) % 2
WORDS = ["north", "south"] * (COUNT // 2)
SECONDS = 1.7e9 + np.arange(COUNT)
MISSING = [1, None] * (COUNT // 2)


def dataset_of(value: Any) -> Dataset:
    return split("mine", {"inputs": value, "targets": Y})


class OnlyDlpack:
    """A tensor that NumPy knows by nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class WithGradient:
    """A tensor that is not given away, as torch's are while they need gradients."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


# --- what arrives ----------------------------------------------------------------------------------------------------

TAKEN: dict[str, tuple[Any, Any]] = {
    "int64 that fits": (np.full((COUNT, 2), 2**31 - 1), np.full((COUNT, 2), 2**31 - 1)),
    "least int64 that fits": (np.full(COUNT, -(2**31)), np.full(COUNT, -(2**31))),
    "uint64 that fits uint32": (np.full(COUNT, 3_000_000_000, np.uint64), np.full(COUNT, 3_000_000_000, np.uint32)),
    "uint32": (np.full(COUNT, 3_000_000_000, np.uint32), np.full(COUNT, 3_000_000_000, np.uint32)),
    "largest float32": (np.full(COUNT, 3.4028234e38), np.full(COUNT, 3.4028234e38, np.float32)),
    "big-endian float32": (X.astype(">f4"), X.astype(np.float32)),
    "big-endian int64": (Y.astype(">i8"), Y),
    "big-endian complex": (X.astype(">c8"), X.astype(np.complex64)),
    "long double": (X.astype(np.longdouble), X.astype(np.float32)),
    "complex128": (X + 1j, (X + 1j).astype(np.complex64)),
    "float16": (X.astype(np.float16), X.astype(np.float16)),
    "bfloat16": (X.astype(ml_dtypes.bfloat16), X.astype(ml_dtypes.bfloat16)),
    "float8": (X.astype(ml_dtypes.float8_e4m3fn), X.astype(ml_dtypes.float8_e4m3fn)),
    "bool": (Y > 0, Y > 0),
    "a masked array without masked entries": (np.ma.array(X), X.astype(np.float32)),
    "np.matrix": (np.matrix(X), X.astype(np.float32)),
    "lists": (X.tolist(), X.astype(np.float32)),
    "a list of arrays": (list(X), X.astype(np.float32)),
    "an array of JAX": (jnp.asarray(X), X.astype(np.float32)),
    "bfloat16 of JAX": (jnp.asarray(X, jnp.bfloat16), X.astype(ml_dtypes.bfloat16)),
    "raw random keys": (jax.random.split(jax.random.PRNGKey(0), COUNT), jax.random.split(jax.random.PRNGKey(0), COUNT)),
    "a tensor with nothing but dlpack": (OnlyDlpack(X), X.astype(np.float32)),
    "whole numbers as objects": (np.array([1, 2] * 60, object), np.array([1, 2] * 60)),
    "numbers of several types as objects": (np.array([1, 2.5, True] * 40, object), np.array([1, 2.5, 1] * 40)),
    "decimals": ([decimal.Decimal("0.25")] * COUNT, np.full(COUNT, 0.25)),
    "fractions": ([fractions.Fraction(1, 4)] * COUNT, np.full(COUNT, 0.25)),
    "complex numbers as objects": (np.array([1j, 2.5] * 60, object), np.array([1j, 2.5] * 60)),
    "a frame": (pd.DataFrame(X), X.astype(np.float32)),
    "a frame of several types": (
        pd.DataFrame({"a": X[:, 0], "b": Y, "c": Y > 0}),
        np.stack([X[:, 0], Y, Y], axis=1).astype(np.float32),
    ),
    "a frame of two columns of one name": (pd.DataFrame(X[:, :2], columns=["a", "a"]), X[:, :2].astype(np.float32)),
    "a column": (pd.Series(Y), Y),
    "a nullable column without missing values": (pd.Series(Y, dtype="Int64"), Y),
    "nullable truth values": (pd.Series(Y > 0, dtype="boolean"), Y > 0),
    "a column of Arrow": (pd.Series(Y, dtype="int64[pyarrow]"), Y),
    "an index": (pd.RangeIndex(COUNT), np.arange(COUNT)),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_what_arrives(kind: str) -> None:
    value, expected = TAKEN[kind]
    array = as_array(value, "here")
    on_device = jnp.asarray(array)
    np.testing.assert_array_equal(np.asarray(on_device), np.asarray(expected).astype(on_device.dtype))
    assert array.dtype.isnative
    dataset_of(value)


# --- what is refused -------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, str]] = {
    "int64 beyond int32": (
        np.full((COUNT, 2), 3_000_000_000),
        "column 0: 3000000000 at index .* beyond int32.*2147",
    ),
    "int64 below int32": (np.where(X < 2, 1, -(2**31) - 1), r"-2147483649 at index \(\d+, \d\) is beyond int32"),
    "uint64 beyond uint32": (np.full(COUNT, 2**33, np.uint64), "8589934592 .* beyond uint32.*4294967295"),
    "integers of more than 64 bits": ([2**70] * COUNT, "the integer 1180591620717411303424 has more than 64 bits"),
    "an identity in a frame": (
        pd.DataFrame({"a": Y, "id": Y + 2**40}),
        "column 'id': 1099511627776 .* from 0",
    ),
    "float64 beyond float32": (
        np.where(X[7, 3] == X, 1e39, X),
        r"column 3: 1e\+39 at index \(7, 3\) is beyond",
    ),
    "negative float64": (np.full(COUNT, -1e300), r"-1e\+300 at index \(0,\) is beyond float32.*scale"),
    "complex128": (np.full(COUNT, 1e39j), "beyond complex64"),
    "long double": (np.full(COUNT, np.longdouble("1e400")), "beyond float64"),
    "masked": (np.ma.masked_less(X, -1), r"masked array with \d+ masked entries.*impute"),
    "masked integers": (np.ma.array(Y, mask=Y == 1), "masked array with 60 masked"),
    "a masked sentinel": (np.ma.masked_equal(np.where(X > 2, -999.0, X), -999.0), "masked array"),
    "structured": (
        np.zeros(COUNT, [("age", "f4"), ("sex", "i4")]),
        "structured array with the fields 'age', 'sex'",
    ),
    "records": (np.rec.array(np.zeros(COUNT, [("age", "f4")])), "structured array with the fields 'age'"),
    "of genfromtxt": (np.genfromtxt(["a,b"] + ["1,2.5"] * COUNT, delimiter=",", names=True), "fields 'a', 'b'"),
    "dates": (np.datetime64("2020-01-01") + np.arange(COUNT), r"dates or times \(datetime64\[D\]\); .*days since"),
    "durations": (np.arange(COUNT).astype("m8[h]"), r"durations \(timedelta64\[h\]\); .* / np.timedelta64"),
    "dates as objects": ([datetime.date(2020, 1, 1)] * COUNT, "dates or times"),
    "dates with a time zone": (pd.Series(pd.date_range("2020", periods=COUNT, tz="UTC")), "dates or times"),
    "dates of Arrow": (pd.Series(pd.date_range("2020", periods=COUNT)).astype("timestamp[ns][pyarrow]"), "dates or"),
    "periods": (pd.Series(pd.period_range("2020", periods=COUNT)), "dates or times"),
    "a date among numbers": (
        pd.DataFrame({"a": Y, "day": pd.date_range("2020", periods=COUNT)}),
        "'day': dates",
    ),
    "nullable integers": (
        pd.Series(MISSING, dtype="Int64"),
        r"60 of 120 .* missing \(Int64\), the first at .* 1;",
    ),
    "nullable truth values": (pd.Series([True, None] * 60, dtype="boolean"), r"missing \(boolean\)"),
    "nullable floats": (pd.DataFrame({"a": pd.Series(MISSING, dtype="Float64")}), "column 'a': 60 of 120 .* missing"),
    "missing of Arrow": (pd.Series(MISSING, dtype="int64[pyarrow]"), "60 of 120 values are missing"),
    "None": (np.array(MISSING), r"got None, a missing value, at index \(1,\)"),
    "NaN in a frame": (
        pd.DataFrame({"age": np.where(Y, np.nan, 1.0)}),
        r"60 of 120 .*\(1, 0\), in column 'age'",
    ),
    "NaN as an object": (np.array([1.0, np.nan] * 60, object), "60 of 120 entries are NaN"),
    "NaN of bfloat16": ((X * np.nan).astype(ml_dtypes.bfloat16), "480 of 480 entries are NaN"),
    "a column of texts": (pd.DataFrame(X, columns=list("abcd")).assign(island=WORDS), "column 'island': .*'north'"),
    "texts of Arrow": (pd.Series(WORDS, dtype="string[pyarrow]"), "texts .* 'north' .* encode categories"),
    "categories": (
        pd.DataFrame({"a": Y, "side": pd.Categorical(WORDS)}),
        "column 'side': categories, 'north'",
    ),
    "texts": (WORDS, r"texts .* the first 'north' at index \(0,\); encode categories as integers"),
    "bytes": (np.array([b"no"] * COUNT), "texts .* the first 'no'"),
    "texts of variable width": (np.array(WORDS, np.dtypes.StringDType()), "texts .* the first 'north'"),
    "numbers as texts": (np.array(["1.5"] * COUNT), "they may be numbers written as text: convert"),
    "a text among objects": (np.array([[1, "a"]] * COUNT, object), "column 1: expected numbers, got texts"),
    "sparse rows": (scipy.sparse.csr_matrix(X), r"a sparse array \(csr_matrix, shape \(120, 4\)\); .*\.toarray\(\)"),
    "sparse coordinates": (scipy.sparse.coo_array(X), "a sparse array .*toarray"),
    "a sparse dictionary": (scipy.sparse.dok_matrix(X), "a sparse array"),
    "sparse of JAX": (BCOO.fromdense(jnp.asarray(X)), r"a sparse array \(BCOO.*todense\(\)"),
    "a list of sparse rows": ([scipy.sparse.csr_matrix(X[:1])] * COUNT, r"sparse arrays .*vstack\(arrays\)"),
    "a sparse frame": (pd.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_matrix(X)), "column '0': sparse .*to_dense"),
    "ragged lists": ([[1, 2], [3]] * 60, "ragged: examples of different lengths, of 1 to 2; pad"),
    "ragged arrays": ([np.ones(2), np.ones(5)] * 60, "ragged: .* of 2 to 5"),
    "ragged objects": (np.array([np.ones(2), np.ones(3)] * 60, object), "ragged: .*of 2 to 3 entries.* pad them"),
    "random keys": (jax.random.split(jax.random.key(0), COUNT), r"random keys .*key_data"),
    "a tensor that needs gradients": (WithGradient(), r"WithGradient cannot .*requires grad.*detach\(\)"),
    "bytes without a type": (X.astype(ml_dtypes.bfloat16).view("V2"), "2 bytes an entry whose type is lost"),
    "dictionaries": ([{"a": 1}] * COUNT, r"objects \(dtype object\), the first of type dict"),
    "a dictionary": ({"a": X}, "expected an array with one entry per example, got dict"),
    "a path": ("train.csv", "got 'train.csv'; read"),
    "nothing": (None, "got None"),
    "an object": (object(), "got one object of type object"),
    "a generator": ((each for each in X), "a generator is used up by one reading"),
    "a number": (np.float32(1), "expected one entry per example, got a single number"),
    "a table without columns": (pd.DataFrame(index=range(COUNT)), "a table without columns"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind: str) -> None:
    value, message = REFUSED[kind]
    with pytest.raises(UserError, match=f"^dataset 'mine', array 'inputs'.*{message}"):
        dataset_of(value)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_the_split_is_named(part: str) -> None:
    parts = {each: {"inputs": X + number} for number, each in enumerate(("train", "validation", "test"))}
    parts[part]["inputs"] = np.where(X > 2, 1e39, X)
    with pytest.raises(UserError, match=rf"dataset 'mine', split '{part}', array 'inputs', column \d: 1e\+39 at index"):
        Dataset("mine", **parts)


@pytest.mark.parametrize("value", [np.full((COUNT, 2), 2**40), np.full((COUNT, 2), 1e39), SECONDS])
def test_with_64_bits_on_the_device_all_of_it_arrives(value: np.ndarray) -> None:
    with jax.enable_x64(True):
        dataset = dataset_of(value)
        assert not dataset.too_fine
        np.testing.assert_array_equal(
            np.unique(jnp.asarray(dataset.train["inputs"])), np.unique(dataset.train["inputs"])
        )


def test_a_mapped_array_in_the_other_byte_order_arrives(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "validation", "test")):
        (tmp_path / part).mkdir()
        np.save(tmp_path / part / "inputs.npy", (X + number).astype(">f8"))
    dataset = bench.data.npy(tmp_path)
    np.testing.assert_array_equal(jnp.asarray(dataset.test["inputs"]), (X + 2).astype(np.float32))


# --- values that float32 cannot tell apart ---------------------------------------------------------------------------

FINE: dict[str, np.ndarray] = {
    "seconds": SECONDS,
    "seconds beside another column": np.stack([X[:, 0], SECONDS], axis=1),
    "big-endian seconds": SECONDS.astype(">f8"),
    "a day of seconds": 1.7e9 + RNG.uniform(0, 86_400, COUNT),
    "identities": 20_000_000.0 + np.arange(COUNT),
    "days since year 0 with times": 738_000 + np.linspace(0, 0.5, COUNT),
    "a small deviation": 3 + 1e-9 * X,
    "units too small": 1e-50 * X,
    "below float32's normal numbers": 1e-40 * X,
}
COARSE: dict[str, np.ndarray] = {
    "normal": X,
    "many": RNG.normal(size=(20_000, 2)),
    "years": RNG.uniform(1990, 2024, COUNT),
    "coordinates": 5.4e6 + RNG.normal(0, 1000, COUNT),
    "a year of seconds": 1.7e9 + RNG.uniform(0, 3e7, COUNT),
    "a constant": np.full(COUNT, 0.1),
    "zeros": np.zeros((COUNT, 3)),
    "one small number": np.where(np.arange(COUNT) == 3, 1e-50, X[:, 0]),
    "powers": 10.0 ** RNG.uniform(-30, 30, COUNT),
    "seconds as float32": SECONDS.astype(np.float32),
    "pixels": RNG.integers(0, 256, (COUNT, 9)),
    "random integers": RNG.integers(0, 2**31, COUNT),
}


@pytest.mark.parametrize("kind", FINE)
def test_what_float32_cannot_tell_apart_is_said_and_no_problem_takes_it(kind: str) -> None:
    with pytest.warns(UserWarning, match=r"array 'inputs'.*standardize"):
        dataset = dataset_of(FINE[kind])
    assert len(dataset.too_fine) == 1
    with pytest.raises(UserError, match=r"problem 'mine': dataset 'mine', array 'inputs'.*standardize"):
        problem_of(dataset)
    right = standardize(dataset, "inputs")
    assert not right.too_fine and len(np.unique(right.train["inputs"])) >= 0.95 * len(
        np.unique(dataset.train["inputs"])
    )
    problem_of(right)


def problem_of(dataset: Dataset) -> bench.Problem:
    return bench.Problem(
        name="mine",
        init=lambda key: (jnp.zeros(()), None),
        loss=lambda params, state, batch, key: (params, state),
        evaluate=lambda params, state, batch: {"m": params},
        metrics={"m": bench.Metric("lower")},
        dataset=dataset,
        batch_size=4,
    )


@pytest.mark.parametrize("kind", COARSE)
def test_no_false_alarm(kind: str) -> None:
    problem_of(split("mine", {"inputs": COARSE[kind]}))  # warnings are errors


def test_whole_seconds_may_be_meant_as_they_are() -> None:
    with pytest.warns(UserWarning, match="float32 tells 2 apart"):
        dataset = dataset_of(SECONDS.astype(np.int64))
    problem_of(dataset)


def test_who_standardizes_next_is_not_warned() -> None:
    arrays = {"inputs": SECONDS, "targets": Y}
    dataset = standardize(split("mine", arrays, fine=("inputs",)), "inputs")
    assert len(np.unique(dataset.train["inputs"])) == 72


def test_numbers_that_become_0_are_said() -> None:
    with pytest.warns(UserWarning, match=r"column 1: 60 of 120 numbers become 0 as float32, such as 1e-50; if they"):
        problem_of(dataset_of(np.stack([X[:, 0], np.where(Y, 1e-50, 1.0)], axis=1)))


def test_what_is_too_fine_is_found_beyond_the_first_rows() -> None:
    late = np.concatenate([np.full(3000, 1.7e9), 1.7e9 + np.arange(3000)])
    assert "of 3000 different values" in too_fine(late, "here")
    assert not too_fine(np.concatenate([late, [0.0]]), "here"), "an offset would not help"


# --- splits that are alike -------------------------------------------------------------------------------------------


def splits_of(**changed: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    parts = {part: {"inputs": X + number, "targets": Y} for number, part in enumerate(("train", "validation", "test"))}
    for place, array in changed.items():
        part, name = place.split("_")
        parts[part][name] = array
    return parts


UNLIKE: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "width": ({"test_inputs": X[:, :3]}, r"split 'test', array 'inputs': .* shape \(3,\), those of 'train' \(4,\)"),
    "axes": ({"validation_inputs": X[..., None]}, r"split 'validation'.* shape \(4, 1\), those of 'train' \(4,\)"),
    "flat": ({"validation_inputs": X[:, 0]}, r"split 'validation'.* shape \(\), those of 'train' \(4,\)"),
    "one-hot targets": ({"test_targets": np.eye(2)[Y]}, r"split 'test', array 'targets': .* shape \(2,\)"),
    "bytes": (
        {"validation_inputs": (X > 0).astype(np.uint8)},
        ".*validation.* uint8, .*'train' of float64; scale",
    ),
    "integers": ({"test_inputs": np.round(X).astype(int)}, "split 'test'.* int64, those of 'train' of float64"),
    "truth values": ({"test_inputs": X > 0}, "split 'test'.* bool"),
    "complex": ({"test_inputs": X + 0j}, "split 'test'.* complex128"),
    "bfloat16": ({"test_inputs": X.astype(ml_dtypes.bfloat16)}, "split 'test'.* bfloat16"),
    "real labels": ({"validation_targets": Y.astype(float)}, "split 'validation', array 'targets': .*float64.*int64"),
}


@pytest.mark.parametrize("kind", UNLIKE)
def test_splits_that_are_not_alike(kind: str) -> None:
    changed, message = UNLIKE[kind]
    with pytest.raises(UserError, match=f"dataset 'mine', {message}"):
        Dataset("mine", **splits_of(**changed))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("dcba", "'d', 'c', 'b', 'a', in another order than those of 'train', 'a', 'b', 'c', 'd'; select"),
        ("abce", "'a', 'b', 'c', 'e', and not those of 'train'"),
    ],
)
def test_tables_of_other_columns(columns: str, message: str) -> None:
    frames = [pd.DataFrame(X + number, columns=list(names)) for number, names in enumerate(("abcd", columns, "abcd"))]
    with pytest.raises(UserError, match=f"split 'validation', array 'inputs': has the columns {message}"):
        Dataset("mine", *({"inputs": frame} for frame in frames))
    Dataset("mine", {"inputs": frames[0]}, {"inputs": frames[1].to_numpy()}, {"inputs": frames[2]})


def test_tables_whose_rows_are_in_different_orders() -> None:
    frame, column = pd.DataFrame(X), pd.Series(Y)
    shuffled = frame.sample(frac=1.0, random_state=0)
    with pytest.raises(UserError, match=r"the rows of 'inputs' and 'targets' have the same index in different orders"):
        split("mine", {"inputs": shuffled, "targets": column})
    split("mine", {"inputs": shuffled, "targets": column.loc[shuffled.index]})
    split("mine", {"inputs": shuffled, "targets": Y})
    split("mine", {"inputs": frame.iloc[20:], "targets": column.iloc[:100]})


@pytest.mark.parametrize(
    ("name", "dtype", "common"),
    [
        ("inputs", np.float32, np.float64),
        ("inputs", np.float16, np.float64),
        ("inputs", ">f8", np.float64),
        ("targets", np.int32, np.int64),
        ("targets", np.uint8, np.int64),
        ("targets", np.uint64, np.int64),
        ("targets", bool, np.int64),
    ],
)
def test_types_that_are_one_on_the_device_become_one(name: str, dtype: Any, common: Any) -> None:
    parts = splits_of()
    parts["test"][name] = parts["test"][name].astype(dtype)
    dataset = Dataset("mine", **parts)
    assert {getattr(dataset, part)[name].dtype for part in parts} == {np.dtype(common)}
    np.testing.assert_array_equal(dataset.test[name], parts["test"][name].astype(common))


def test_integers_that_no_type_of_the_device_holds_together() -> None:
    parts = splits_of(train_targets=np.full(COUNT, -1), test_targets=np.full(COUNT, 3_000_000_000, np.uint32))
    with pytest.raises(UserError, match=r"split 'test', array 'targets': 3000000000 at index \(0,\) is beyond int32"):
        Dataset("mine", **parts)


def test_official_splits_are_alike_too() -> None:
    parts = splits_of()
    with pytest.raises(UserError, match=r"split 'test', array 'inputs': its examples have shape \(3,\)"):
        bench.data.split_official("mine", parts["train"], {**parts["test"], "inputs": X[:, :3]})


def test_checked_arrays_are_not_looked_through_again() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = dataset_of(SECONDS)
        assert dataset.of_study(3).too_fine == dataset.too_fine
    assert len(caught) == 1
