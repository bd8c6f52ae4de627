"""Where the output goes to: few letters, a pipe that nobody reads, no output at all, a full disk."""

import io
import os
import subprocess
import sys
from pathlib import Path

import distributed.system
import pytest

from dlkit import bench
from dlkit.bench.execution.progress import say
from dlkit.bench.machine.environment import memory_limit

COMMAND = [sys.executable, "-m", "dlkit.bench.cli"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams") / "run"
    budget = bench.Budget(steps=20, evaluations=4, studies=2, tuning_points=2, tuning_seeds=1, seeds=2)
    given = {"problems": ["quadratic"], "optimizers": ["sgd", "adam"], "budget": budget, "progress": False}
    bench.compare(**given, folder=folder, resources=bench.Resources(executor="inline"))  # type: ignore[arg-type]
    return folder


def ended(command: list[str], **changed: str) -> subprocess.CompletedProcess[bytes]:
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "COLUMNS": "200"}
    return subprocess.run(command, env={**os.environ, **plain, **changed}, capture_output=True, timeout=120)


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_few_letters_are_enough(run: Path, encoding: str) -> None:
    for arguments in (["show", str(run), "--tables"], ["show", str(run), "--trials"]):
        shown = ended([*COMMAND, *arguments], PYTHONIOENCODING=encoding)
        assert shown.returncode == 0 and not shown.stderr
        text = shown.stdout.decode(encoding)
        assert "quadratic" in text and "?" not in text.replace("?)", "")


@pytest.mark.long
def test_a_script_shows_its_result_in_few_letters(run: Path) -> None:
    script = f"from dlkit import bench; bench.open_run({str(run)!r}).show(tables=True)"
    shown = ended([sys.executable, "-c", script], PYTHONIOENCODING="ascii")
    assert shown.returncode == 0 and not shown.stderr and b"quadratic" in shown.stdout


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
@pytest.mark.parametrize(
    ("shell", "status", "said"),
    [
        ('{command} | head -1; exit "${{PIPESTATUS[0]}}"', 0, ""),
        ('{command} | true; exit "${{PIPESTATUS[0]}}"', 0, ""),
        ("{command} >&-", 0, ""),
        ("{command} >/dev/full", 2, "error: the output could not be written: No space left on device\n"),
    ],
)
def test_nobody_has_to_read_what_is_printed(run: Path, shell: str, status: int, said: str) -> None:
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    line = shell.format(command=f"{sys.executable} -m dlkit.bench.cli show {run} --trials")
    shown = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert (shown.returncode, shown.stderr) == (status, said)


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_what_is_opened_takes_no_place_of_closed_output(tmp_path: Path) -> None:
    """A daemon has closed all three; a worker's own output would take the place of a pipe with such a number."""
    script = (
        "import os, sys\nfrom dlkit.bench.execution.progress import say\n"
        "from dlkit.bench.machine.preparation import fill_standard_descriptors\n"
        "fill_standard_descriptors()\nsay('nobody hears it')\ndescriptors = os.pipe()\n"
        "with open(sys.argv[1], 'w') as file: print(min(descriptors), *map(os.readlink, "
        "('/proc/self/fd/1', '/proc/self/fd/2')), file=file)\n"
    )
    line = f'{sys.executable} -c "$0" {tmp_path / "found"} 0<&- 1>&- 2>&-'
    subprocess.run(["bash", "-c", line, script], check=True, timeout=120)
    first, *places = (tmp_path / "found").read_text().split()
    assert int(first) > 2 and places == ["/dev/null", "/dev/null"]


def test_a_run_goes_on_if_nobody_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class NobodyReads(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", NobodyReads())
    say("nobody hears it")
    monkeypatch.setattr("sys.stderr", None)
    say("nobody hears it")


def test_the_memory_there_is_is_what_another_library_finds() -> None:
    assert memory_limit() == distributed.system.memory_limit()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_unbuffered_output_stays_so(stream: str) -> None:
    """A log has each line at once, also of a process that is killed before it ends."""
    script = (
        "import os, sys\nfrom dlkit.bench.cli.letters import lasting\n"
        f"kept, _ = lasting(sys.{stream})\nprint('a line', file=kept)\nos._exit(0)"
    )
    shown = subprocess.run([sys.executable, "-u", "-c", script], capture_output=True, text=True, timeout=120)
    assert getattr(shown, stream) == "a line\n"
