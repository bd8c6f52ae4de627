"""Threads of a process that trains: set before it computes, at run time too, given back, and measured."""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import threadpoolctl

from dlkit.bench.machine import linear_algebra, preparation, program
from dlkit.bench.machine.linear_algebra import UNKNOWN, Library, blas_threads, libraries
from dlkit.bench.machine.preparation import bound_threads, thread_variables
from dlkit.bench.machine.program import BIT_FIELDS, SOFTWARE_FIELDS, program_identity, unlike_bits

SETTABLE = all(each.set is not None for each in libraries())
needs_threads = pytest.mark.skipif(not SETTABLE, reason="this library of linear algebra cannot be told")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Linear algebra as in a user's process: two threads."""
    for each in libraries():
        assert each.set
        each.set(2)
    yield
    for each in libraries():
        assert each.set
        each.set(1)


def test_libraries_are_those_that_threadpoolctl_finds() -> None:
    jnp.linalg.eigh(np.eye(3, dtype=np.float32))  # JAX loads the one that it calls
    known = {Path(each["filepath"]).parent.name: each for each in threadpoolctl.threadpool_info()}
    for each in libraries():
        theirs = known.get(f"{each.package}.libs")
        if theirs is None:  # not from a wheel
            continue
        assert each.name == f"{theirs['internal_api']} {theirs['version']} {theirs['threading_layer']}"
        assert (each.core, each.threads) == (theirs["architecture"], str(theirs["num_threads"]))


@needs_threads
@pytest.mark.usefixtures("two_threads")
def test_threads_are_lent_and_given_back() -> None:
    assert blas_threads() == "2"
    with bound_threads():
        assert blas_threads() == "1"
        with bound_threads():
            assert blas_threads() == "1"
        assert blas_threads() == "1", "the block around it still computes"
        counts = {each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"}
        assert counts == {1}
    assert blas_threads() == "2"
    with pytest.raises(RuntimeError), bound_threads():
        raise RuntimeError
    assert blas_threads() == "2"


@needs_threads
@pytest.mark.usefixtures("two_threads")
def test_who_ends_first_does_not_give_back_what_others_compute_with() -> None:
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with bound_threads():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    with bound_threads():
        leave.set()
        thread.join()
        assert blas_threads() == "1"
    assert blas_threads() == "2"


@needs_threads
@pytest.mark.usefixtures("two_threads")
def test_a_process_of_its_own_keeps_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in thread_variables():
        monkeypatch.setenv(name, "7")
    preparation.prepare_own_process()
    assert blas_threads() == "1"
    assert {os.environ[name] for name in thread_variables()} == {"1"}


def test_openmp_is_asked_by_a_thread_that_has_set_nothing() -> None:
    """Threads of XLA have what stood in the environment, whatever this one asks for itself."""
    import sklearn.linear_model  # noqa: F401 - brings a library of OpenMP along

    found = [each["filepath"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "openmp"]
    if not found:
        pytest.skip("there is no OpenMP")
    handle = ctypes.CDLL(found[0])
    asked, before = linear_algebra._of_new_threads(handle), handle.omp_get_max_threads()
    assert asked is not None and before == 1
    handle.omp_set_num_threads(3)
    try:
        assert (handle.omp_get_max_threads(), asked()) == (3, 1)
    finally:
        handle.omp_set_num_threads(before)


def test_a_library_that_cannot_be_asked_is_unknown_and_promises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = program_identity()
    assert unlike_bits(now, now) == {}
    apple = tuple(Library(each, "accelerate") for each in ("scipy", "numpy"))
    monkeypatch.setattr(linear_algebra, "libraries", lambda: apple)
    there = program_identity()
    assert (there["blas"], there["blas_core"], there["blas_threads"]) == ("accelerate", UNKNOWN, UNKNOWN)
    assert unlike_bits(there, there).keys() == {"blas_core", "blas_threads"}


@pytest.mark.parametrize("field", SOFTWARE_FIELDS + BIT_FIELDS)
def test_every_field_that_decides_bits_breaks_the_promise(field: str) -> None:
    now = program_identity()
    assert unlike_bits({**now, field: "another"}, now) == {field: ("another", now[field])}
    older = {name: value for name, value in now.items() if name != field}
    assert unlike_bits(older, now) == {field: (UNKNOWN, now[field])}
    assert unlike_bits({**now, "python": "3.99", "system": "another"}, now) == {}


def identity(code: str, *, cores: int | None = None, **variables: str) -> list[str]:
    """Threads of XLA and of linear algebra in a new process that runs some code first; no variable says any."""
    ours = {name: value for name, value in os.environ.items() if name not in thread_variables()}
    text = f"{code}\nfrom dlkit.bench.machine.program import program_identity\nfound = program_identity()\n"
    text += "print(found['threads'], found['blas_threads'])"
    if cores is not None:
        text = f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{cores}])\n{text}"
    command = [sys.executable, "-c", text]
    ended = subprocess.run(command, env={**ours, **variables}, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


PREPARE = "from dlkit.bench.machine.preparation import prepare_own_process; prepare_own_process()"
linux = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted on Linux")


@linux
@needs_threads
@pytest.mark.long
def test_a_prepared_process_has_one_thread_of_each_kind_and_an_identity_that_counts_them() -> None:
    assert identity(PREPARE) == ["1", "1"]
    assert identity(f"import numpy, scipy.linalg\n{PREPARE}", OPENBLAS_NUM_THREADS="2", NPROC="2") == ["1", "1"]
    # What has started already is what it is, whatever the environment says later.
    started = "import os, jax; os.environ['NPROC'] = '3'; jax.devices()"
    assert identity(f"{started}\n{PREPARE}", cores=1) == ["3", "1"]


def test_jax_is_started_with_one_thread_and_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NPROC")
    preparation.start_jax.__wrapped__(1)
    assert "NPROC" not in os.environ
    monkeypatch.setenv("NPROC", "5")
    preparation.start_jax.__wrapped__(1)
    assert os.environ["NPROC"] == "5"


def test_workers_have_one_thread_whatever_this_process_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "threads", lambda: 16)
    assert program_identity()["threads"] == "16"
    assert program.program_of_workers()["threads"] == "1"
    assert jax.default_backend() != "cpu" or program.software_of(program_identity())["threads"] == "16"
