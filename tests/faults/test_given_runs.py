"""A run folder that a stranger gave: opening, showing and exporting it runs nothing of it, and touches nothing else."""

import json
import os
import pickle
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dlkit.bench.api import open_run
from dlkit.bench.cli.watch import look
from dlkit.bench.errors import UserError
from dlkit.bench.execution.checkpoints import kept_checkpoints
from dlkit.bench.identity.local_code import LocalCode
from dlkit.bench.plan.programs import Programs
from dlkit.bench.plan.trials import Timing
from dlkit.bench.runs import merge_runs
from dlkit.bench.store.example_scores import MOST_EXAMPLES, unpacked
from dlkit.bench.store.kept_code import About, KeptCode
from dlkit.bench.store.models import PackedModel, every_model, write_model
from dlkit.bench.store.opening import is_in_use
from dlkit.bench.store.store import Store
from dlkit.bench.upkeep import verify_run
from tests.bench.rewriting import rewrite
from tests.bench.synthetic import PROGRAM, fill, make_plan

JOURNAL = bytes([0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7])  # how SQLite's journals begin and end
PLANTED = ("json.py", "sitecustomize.py", "usercustomize.py", "conftest.py", "numpy.py", "evil.pth", "dlkit.py")

# Runs commands in one process and says what it saw: sockets, processes, writes outside, pickles, code from the folder.
WATCHER = """
import os, pickle, sys
folder, kinds = os.path.realpath(sys.argv[1]), []
allowed = [folder, os.path.realpath(os.environ["DLKIT_CACHE"]), "/dev/", "/proc/"]

STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
TOUCHES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink")
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def inside(path):
    return any(os.path.realpath(os.fsdecode(path)).startswith(each) for each in allowed)

def hook(event, arguments):
    if event.startswith("socket.") and event not in ("socket.gethostname", "socket.__new__"):
        kinds.append(event)
    elif event in STARTS or event == "pickle.find_class":
        kinds.append(f"{event} {arguments}")
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        flags = arguments[2] or 0
        writes = (arguments[1] and set(str(arguments[1])) & set("wax+")) or flags & CHANGES
        if writes and not inside(arguments[0]):
            kinds.append(f"writes {arguments[0]}")
    elif event in TOUCHES:
        if not inside(arguments[0]):
            kinds.append(f"{event} {arguments}")
    elif event == "exec" and folder in getattr(arguments[0], "co_filename", ""):
        kinds.append(f"runs {arguments[0].co_filename}")
    elif event == "compile" and isinstance(arguments[1], str) and folder in arguments[1]:
        kinds.append(f"compiles {arguments[1]}")
    elif event == "import" and arguments[1] and folder in str(arguments[1]):
        kinds.append(f"imports {arguments}")

# What libraries do when they are imported is theirs.
import matplotlib.font_manager, pandas, plotly, pyarrow.parquet, jinja2, scipy.stats
import dlkit.bench.cli as cli, dlkit.bench.api, dlkit.bench.runs, dlkit.bench.report.page, dlkit.bench.report.notebook
os.chdir(folder)
sys.addaudithook(hook)
for command in COMMANDS:
    command = [each.replace("HERE", folder) for each in command]
    try:
        cli.app(command, result_action="return_value", exit_on_error=False)
    except dlkit.bench.errors.UserError as error:
        print("refused", command, error, file=sys.stderr)
        sys.exit(3)
result = dlkit.bench.api.open_run(os.path.join(folder, "run"))
str(result), repr(result), result._repr_html_(), result.trials(), result.curves()
print("\\n".join(kinds), file=sys.stderr)
sys.exit(1 if kinds else 0)
"""
COMMANDS = [
    ["show", "HERE/run", "--tables"],
    ["show", "HERE/run", "--trials"],
    ["show", "HERE/run", "--failures"],
    ["watch", "HERE/run", "--once"],
    ["report", "HERE/run"],
    ["report", "HERE/run", "--format", "latex", "--all-tables"],
    ["report", "HERE/run", "--format", "markdown", "--all-tables"],
    ["export", "HERE/run"],
    ["export", "HERE/run", "--format", "json"],
    ["export", "HERE/run", "--format", "parquet"],
    ["compare", "HERE/run", "HERE/other"],
    ["merge", "HERE/run", "HERE/other", "--output", "HERE/merged"],
]


class Attack:
    """Its pickle makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return exec, (f"open({str(self.file)!r}, 'w')",)


def stranger(folder: Path, labels: tuple[str, ...] = ("sgd", "adam")) -> Path:
    """A run of own code, which its store keeps as pickles that attack."""
    plan = make_plan(labels, points=2, seeds=2)
    programs = {"bowl": {each.label: {"{}": Programs("mine", "", "")} for each in plan.contenders}}
    plan = replace(plan, problems=[replace(plan.problems[0], is_own=True, made_by="evil:attack")], programs=programs)
    with Store(folder) as store:
        fill(store, plan)
        about = About("", "problem 'bowl'", LocalCode({}), "3.11", "2000-01-01 00:00 UTC", {})
        name = store.keep_code(KeptCode(about, pickle.dumps(Attack(folder.parent / "ran")), []))
        store.use_plan(plan, {"evil.py": "raise SystemExit"}, [about._replace(digest=name or "")])
    return folder


@pytest.mark.long
def test_nothing_of_a_given_run_is_run(tmp_path: Path) -> None:
    """An audit hook sees no socket, process, pickle, import or code of the folder, and no write outside."""
    run = stranger(tmp_path / "run")
    stranger(tmp_path / "other", ("sgd", "adam", "lion"))
    for place in (tmp_path, run, tmp_path / "other"):
        for name in PLANTED:
            (place / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close(); raise OSError\n")
        (place / "model.pkl").write_bytes(pickle.dumps(Attack(tmp_path / "ran")))
    environment = {**os.environ, "DLKIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    script = WATCHER.replace("COMMANDS", repr(COMMANDS))
    ran = subprocess.run(
        [sys.executable, "-B", "-P", "-c", script, str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.long
def test_the_watcher_sees_what_it_looks_for(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    stranger(tmp_path / "run")
    script = WATCHER.replace("COMMANDS", "[]").replace(
        "result = dlkit",
        "import socket, subprocess, pathlib; socket.socket().close(); socket.getaddrinfo('localhost', 1)\n"
        "open(os.path.join(os.path.dirname(folder), 'outside'), 'w').close()\nsubprocess.run(['true'])\n"
        "pickle.loads(pickle.dumps(pathlib.PurePath))\nexec(compile('1', folder + '/x.py', 'exec'))\nresult = dlkit",
    )
    environment = {**os.environ, "DLKIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", script, str(tmp_path)], capture_output=True, text=True, env=environment
    )
    for seen in ("socket.getaddrinfo", "writes", "subprocess.Popen", "pickle.find_class", "runs", "compiles"):
        assert seen in ran.stderr, (seen, ran.stderr)


# --- what lies beside the store ---


def journal_naming(victim: Path, store: Path) -> bytes:
    """A journal that SQLite finishes when it opens a store, and that names another file, which it then removes."""
    size = 512
    pages = store.stat().st_size // 4096
    head = (JOURNAL + struct.pack(">IIIII", 0, 1234, pages, size, 4096)).ljust(size, b"\0")
    name = str(victim).encode()
    return head + struct.pack(">I", 2**30 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + JOURNAL


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with Store(tmp_path / "run") as store:
        fill(store, make_plan(("sgd", "adam"), points=2, seeds=2))
    return tmp_path / "run"


@pytest.mark.parametrize("write", [False, True])
def test_a_journal_that_names_other_files_is_refused(run: Path, tmp_path: Path, write: bool) -> None:
    victim, store = tmp_path / "thesis.tex", run / "store.sqlite"
    victim.write_text("of three years")
    (run / "store.sqlite-journal").write_bytes(journal_naming(victim, store))
    with pytest.raises(UserError, match="names files elsewhere, which opening the run would remove"):
        Store(run, write=write)
    assert victim.read_text() == "of three years"
    with closing(sqlite3.connect(store)) as connection:  # the attack is one: SQLite by itself removes the file
        connection.execute("SELECT * FROM meta").fetchall()
    assert not victim.exists()


def test_an_ordinary_journal_is_still_finished(run: Path) -> None:
    """As a killed run leaves it."""
    script = (
        "import os, sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size=1')\nconnection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute('DELETE FROM program')\nconnection.execute('DELETE FROM trial')\nos._exit(0)\n"
    )
    count = len(open_run(run).trials())
    subprocess.run([sys.executable, "-c", script, str(run / "store.sqlite")], check=True)
    assert (run / "store.sqlite-journal").exists() and len(open_run(run).trials()) == count


@pytest.mark.parametrize("end", ["", "-journal", "-wal"])
def test_links_in_the_place_of_a_store_are_refused(run: Path, tmp_path: Path, end: str) -> None:
    place, elsewhere = run / f"store.sqlite{end}", tmp_path / "elsewhere"
    if place.exists():
        place.rename(elsewhere)
    else:
        elsewhere.write_bytes(b"private")
    place.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    for write in (False, True):
        with pytest.raises(UserError, match="is a link to another place"):
            Store(run, write=write)
    assert elsewhere.read_bytes() == before


def test_a_pipe_in_the_place_of_a_file_does_not_hold_anybody_up(run: Path) -> None:
    os.mkfifo(run / "progress.json")
    assert look(run).state is None
    (run / "models").mkdir()
    os.mkfifo(run / "models" / "abcd.json")
    with pytest.raises(UserError, match="no plain file"):
        list(every_model(run))


def test_other_pipes_hold_nobody_up_either(run: Path, tmp_path: Path) -> None:
    """The lock, the manifest and a checkpoint, where whoever reads them would wait for a writer for ever."""
    for name in ("lock", "manifest.json"):
        (run / name).unlink()
        os.mkfifo(run / name)
    (run / "checkpoints").mkdir(mode=0o700)
    os.mkfifo(run / "checkpoints/abcd.msgpack", mode=0o600)
    assert verify_run(run).mistakes == [
        "manifest.json cannot be read: it is no plain file; the next run writes it again"
    ]
    assert not is_in_use(run)
    with kept_checkpoints(run, 1.0, dict, list) as (place, wrong):
        assert place is not None and not wrong
    assert not (run / "checkpoints").exists()
    with (run / "store.sqlite").open("r+b") as file:  # what is damaged is looked up in the manifest
        file.seek(4096)
        file.write(bytes(4096))
    with pytest.raises(UserError), Store(run, write=False) as store:
        store.current_plan()


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(run: Path, tmp_path: Path) -> None:
    (run / "lock").unlink()
    (run / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="cannot be written"):
        Store(run)
    assert not (tmp_path / "elsewhere").exists()


def test_a_program_that_a_timing_names_and_nobody_has_is_a_message(run: Path, tmp_path: Path) -> None:
    with Store(run) as store:
        store.keep_timings({"one": Timing((0.1,), 0.3, 10, 20)}, PROGRAM, "here")
    rewrite(run, "timing", lambda row: {"program": "unknown"})
    shutil.copytree(run, tmp_path / "other")
    with pytest.raises(UserError, match="cannot be used"):
        merge_runs([run, tmp_path / "other"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW slow AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM trial; END",
        "CREATE TABLE big (a INTEGER, b BLOB AS (zeroblob(1000000000)))",
        "CREATE INDEX odd ON program (hex(fields))",
    ],
)
def test_what_computes_when_it_is_read_is_refused(run: Path, statement: str) -> None:
    with closing(sqlite3.connect(run / "store.sqlite")) as connection, connection:
        connection.execute(statement)
    for write in (False, True):
        with pytest.raises(UserError, match="do not trust this folder"):
            Store(run, write=write)


# --- models, scores, progress ---


@pytest.mark.parametrize("trial", ["../../../outside", "/tmp/outside", "ab/cd", "ABCD", "", None, 7])
def test_a_model_of_another_name_is_neither_read_nor_copied(run: Path, tmp_path: Path, trial: object) -> None:
    write_model(run, "abcd", "bowl", "sgd", PackedModel(b"data", {}))
    about = run / "models" / "abcd.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "trial": trial}))
    with pytest.raises(UserError, match=r"abcd\.json: the kept model cannot be used"):
        list(every_model(run))
    with Store(tmp_path / "other") as store:
        fill(store, make_plan(("sgd", "adam"), points=2, seeds=2))
    with pytest.raises(UserError):
        merge_runs([run, tmp_path / "other"], tmp_path / "merged")
    assert not [*tmp_path.rglob("outside*")] and not (tmp_path / "merged").exists()


def test_scores_that_unpack_to_more_than_they_say_are_refused() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    for count, form in ((8, "bits"), (8, "float32"), (MOST_EXAMPLES + 1, "bits"), (-1, "float32"), (8, "other")):
        with pytest.raises(ValueError, match="scores of examples"):
            unpacked(count, form, bomb)
    assert unpacked(8, "bits", zlib.compress(b"\xff")).tolist() == np.ones(8).tolist()


@pytest.mark.parametrize(
    "wrong",
    [{"planned": "many"}, {"process": -1}, {"process": 2**70}, {"seconds": "x"}, {"compiling": [1]}, {"at": True}],
)
def test_odd_progress_is_no_progress(run: Path, wrong: dict[str, object]) -> None:
    right = {"planned": 3, "done": 1, "compiling": ["a"], "training": [], "host": "h", "process": 1, "at": 1.0}
    (run / "progress.json").write_text(json.dumps(right))
    assert look(run).state is not None
    (run / "progress.json").write_text(json.dumps({**right, **wrong}))
    assert look(run).state is None
