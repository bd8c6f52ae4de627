"""What a run may use: amounts of memory against dask's reading of them, mistakes, and what an import costs."""

import os
import subprocess
import sys
from typing import Any

import pytest
from dask.utils import parse_bytes

from dlkit import bench
from dlkit.bench.execution.memory import memory_bytes


@pytest.mark.parametrize(
    "given", ["5", "7b", "300 kB", "2GiB", "500MB", "1.5 GB", "1e6", "2Mi", "3k", "1TiB", "0.5kb", "12 MIB", "2.PB"]
)
def test_amounts_are_read_as_dask_reads_them(given: str) -> None:
    assert memory_bytes(given) == parse_bytes(given)


@pytest.mark.parametrize("given", ["much", "-1GB", 0, -5, "", 1.5j, "2 GiBs", "1 2", "GB", True, 2.5, "0.1b"])
def test_what_is_no_amount_of_memory_is_refused(given: Any) -> None:
    with pytest.raises(bench.UserError, match="memory must be an amount such as '2GiB'"):
        memory_bytes(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"executor": "dsk"}, ["resources.executor: no executor 'dsk'; expected 'processes', 'inline'"]),
        ({"executor": "dask"}, ["no executor 'dask'; workers of this machine are 'processes' now"]),
        ({"executor": 3}, ["resources.executor: no executor 3"]),
        ({"workers": 0}, ["resources.workers must be a whole number of at least 1, got 0"]),
        ({"workers": 1.0}, ["resources.workers", "got 1.0"]),
        ({"workers": True}, ["resources.workers", "got True"]),
        ({"lanes": -1}, ["resources.lanes must be a whole number of at least 1, or 0 for one trial", "got -1"]),
        ({"memory": "much"}, ["resources.memory must be an amount such as '2GiB'", "got 'much'"]),
        (
            {"executor": "tcp://10.0.0.1:8786"},
            [
                "resources.executor: 'tcp://10.0.0.1:8786' encrypts nothing and asks nobody who they are",
                "whoever reaches that port can run code as you",
                "write 'tls://10.0.0.1:8786' with --tls-ca, --tls-cert and --tls-key",
                "--insecure (insecure=True)",
            ],
        ),
        ({"executor": "ucx://10.0.0.1:8786"}, ["no kind of address 'ucx://'; expected 'tls://10.0.0.1:8786'"]),
        ({"executor": "tls://10.0.0.1:8786", "insecure": True}, ["resources.insecure is for an executor at 'tcp://'"]),
        ({"insecure": True}, ["resources.insecure is for an executor at 'tcp://'"]),
        ({"insecure": "no"}, ["resources.insecure must be true or false, got 'no'"]),
        ({"tls_key": "key.pem"}, ["resources.tls_key is for an executor at 'tls://'"]),
        ({"slurm": "cores=8, memory=16GB", "pbs": "cores=8, memory=16GB"}, ["slurm and pbs: give one of them"]),
        (
            {"slurm": "cores=8, memory=16GB", "executor": "tls://10.0.0.1:8786"},
            ["slurm starts a cluster of its own; leave out executor='tls://10.0.0.1:8786'"],
        ),
        (
            {"slurm": "core=8, memory=16GB"},
            ["slurm: no option 'core'; did you mean 'cores'", "missing cores"],
        ),
        ({"worker_memory": "much"}, ["resources.worker_memory must be an amount such as '2GiB'", "got 'much'"]),
        ({"worker_memory": "2GiB", "executor": "inline"}, ["resources.worker_memory is for worker processes"]),
        ({"workers": 0, "lanes": -1, "memory": 0}, ["resources.workers", "resources.lanes", "resources.memory"]),
    ],
)
def test_mistakes_are_named_all_at_once(given: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(bench.UserError) as caught:
        bench.Resources(**given)
    assert all(words in str(caught.value) for words in expected), caught.value


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"executor": "tls://10.0.0.1:8786"},
        {"executor": "tls://10.0.0.1:8786", "tls_ca": "ca.pem", "tls_cert": "cert.pem"},
        {"executor": "tcp://10.0.0.1:8786", "insecure": True},
        {"slurm": "cores=8, memory=16GB, jobs=4"},
        {"pbs": {"cores": 8, "memory": "16GB", "directives": ["-l place=scatter"]}},
        {"lanes": 0},
        {"memory": "2GiB"},
        {"worker_memory": 2**30},
    ],
)
def test_what_can_be_is_accepted(given: dict[str, Any]) -> None:
    bench.Resources(**given)


def test_workers_are_as_many_as_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert bench.Resources().count == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert bench.Resources().count == 64


def test_another_type_is_refused_before_anything_runs() -> None:
    with pytest.raises(bench.UserError, match=r"resources must be a bench\.Resources.* got 'inline'"):
        bench.compare(problems=["quadratic"], optimizers=["sgd"], resources="inline")  # type: ignore[arg-type]


def test_resources_load_neither_jax_nor_dask() -> None:
    code = (
        "import sys; from dlkit.bench.execution.resources import Resources; Resources(memory='2GiB');"
        "print(*({'jax', 'dask', 'distributed', 'numpy'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
