"""The hash of dlkit's own code: what must change it, what must not, and which files it is of."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlkit.bench.machine import training_code
from dlkit.bench.machine.program import program_identity
from dlkit.bench.machine.training_code import TRAINING_ROOMS, code_digest, content_digest, reached_modules

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "dlkit"

# --- a small package that is laid out like dlkit ---------------------------------------------------------------------

FILES = {
    "__init__.py": '"""A package."""\n\n__version__ = "0.1.0"\n',
    "bench/__init__.py": "",
    "losses/__init__.py": 'from dlkit.losses.regression import mse\n\n__all__ = ["mse"]\n',
    "losses/regression.py": '''"""Losses of regression."""

import jax.numpy as jnp

FACTOR = 2.0


def mse(x, y):
    """Returns the mean squared error."""
    # as in the paper
    return FACTOR * jnp.mean((x - y) ** 2)


def huber(x, y):
    return halved(x - y)


def halved(x):
    return x / 2
''',
    "losses/robust.py": "def huber(x, y):\n    return halved(x - y)\n\n\ndef halved(x):\n    return x / 3\n",
    "bench/plan/__init__.py": "",
    "bench/plan/sizes.py": "SIZES = {1: 2}\n",
    "bench/training/__init__.py": '"""Training."""\n\n__all__ = ["step"]\n',
    "bench/training/step.py": '''"""A step."""

from functools import cache
from typing import TYPE_CHECKING

from dlkit import losses
from dlkit.losses.regression import huber

if TYPE_CHECKING:
    from pathlib import Path


class Step:
    """Does a step."""

    rate: float = 0.1

    @property
    def twice(self):
        return 2 * self.rate


@cache
def step(x: float, *, size: int = 1) -> str:
    """Takes a step."""
    from dlkit.bench.plan.sizes import SIZES

    if x < 0:
        raise ValueError(f"x is {x:g}, below 0")
    total = losses.mse(x, size) + huber(x, SIZES[1])
    return [each for each in (total, *"ab")]
''',
    "bench/report/page.py": "WIDTH = 1\n",
}
STEP, REGRESSION = "bench/training/step.py", "losses/regression.py"


@pytest.fixture
def planted(tmp_path):
    """Writes the package with some files changed, added or (None) left out, and returns its digest."""
    number = 0

    def plant(changes=None):
        nonlocal number
        number += 1
        package = tmp_path / str(number) / "dlkit"
        for name, text in {**FILES, **(changes or {})}.items():
            if text is not None:
                (package / name).parent.mkdir(parents=True, exist_ok=True)
                (package / name).write_text(text)
        return package

    return lambda changes=None: content_digest(plant(changes))


def edited(file, before, after):
    assert before in FILES[file]
    return {file: FILES[file].replace(before, after)}


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        (REGRESSION, "    # as in the paper\n", ""),
        (REGRESSION, "# as in the paper", "# as elsewhere"),
        (REGRESSION, "FACTOR = 2.0\n", "FACTOR = 2.0  # a comment\n\n\n"),
        (REGRESSION, "FACTOR * jnp.mean((x - y) ** 2)", "(\n        FACTOR * jnp.mean(((x - y)) ** 2,)\n    )"),
        (REGRESSION, "the mean squared error", "the mean of squares"),
        (REGRESSION, '    """Returns the mean squared error."""\n', ""),
        (REGRESSION, '"""Losses of regression."""', '"""Other words."""'),
        (REGRESSION, "    return x / 2", "    pass\n    return x / 2"),
        (REGRESSION, "FACTOR = 2.0", 'FACTOR = 2.0\n"""What it is multiplied by."""'),
        (STEP, 'f"x is {x:g}, below 0"', "f'x is {x:g}, below 0'"),
        (STEP, 'f"x is {x:g}, below 0"', 'f"x is {x:g}, " "below 0"'),
        (STEP, "    from pathlib import Path", "    from pathlib import Path, PurePath"),
        (STEP, "    from dlkit.bench.plan.sizes import SIZES\n\n", ""),
        ("losses/__init__.py", '["mse"]', '[\n    "mae",\n    "mse",\n]'),
        ("__init__.py", "0.1.0", "0.2.0"),
        ("bench/report/page.py", "WIDTH = 1", "WIDTH = 2"),
    ],
)
def test_what_does_not_count(planted, file, before, after):
    changes = edited(file, before, after)
    if "sizes import" in before:  # imported at the top instead
        changes[STEP] = "from dlkit.bench.plan.sizes import SIZES\n" + changes[STEP]
    assert planted(changes) == planted()


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        (REGRESSION, "FACTOR = 2.0", "FACTOR = 2.5"),
        (REGRESSION, "FACTOR = 2.0", "FACTOR = 2"),
        (REGRESSION, "FACTOR = 2.0", "FACTOR = 2.0\nFACTOR = 3.0"),
        (REGRESSION, "x - y) ** 2", "x + y) ** 2"),
        (REGRESSION, "x - y) ** 2", "y - x) ** 2"),
        (REGRESSION, "jnp.mean", "jnp.sum"),
        (REGRESSION, "import jax.numpy as jnp", "import numpy as jnp"),
        (REGRESSION, "import jax.numpy as jnp", "from jax import numpy\nimport jax as jnp"),
        (REGRESSION, "def halved", "def unused():\n    return 1\n\n\ndef halved"),
        (REGRESSION, "    return x / 2", "    print(x)\n    return x / 2"),
        (STEP, "@cache\n", ""),
        (STEP, "import cache", "import lru_cache as cache"),
        (STEP, "size: int = 1", "size: int = 2"),
        (STEP, "size: int = 1", "size: int"),
        (STEP, "*, size", "size"),
        (STEP, "rate: float = 0.1", "rate: float = 0.2"),
        (STEP, "    @property\n", ""),
        (STEP, "x is {x:g}", "x is {x:f}"),
        (STEP, "from dlkit.losses.regression import huber", "from dlkit.losses.robust import huber"),
        (STEP, "from dlkit.losses.regression import huber", "from dlkit.losses.regression import mse as huber"),
        (STEP, "from dlkit import losses", "from dlkit.losses import robust as losses"),
        ("losses/__init__.py", "regression import mse", "regression import huber as mse"),
        ("bench/plan/sizes.py", "{1: 2}", "{1: 3}"),
        ("bench/plan/__init__.py", "", "import os\n\nos.environ['A'] = 'b'\n"),
    ],
)
def test_what_counts(planted, file, before, after):
    also = {"losses/other.py": "from dlkit.losses.robust import huber\n", STEP: FILES[STEP]}  # robust.py is reached
    also[STEP] += "\n\nfrom dlkit.losses import other\n"
    old = also.get(file, FILES[file])
    assert before in old
    assert planted({**also, file: old.replace(before, after, 1) if before else after}) != planted(also)


def test_two_functions_of_one_name_cannot_change_places(planted):
    """The texts are the same then; what they are called by is not."""
    both = {"losses/other.py": FILES["losses/robust.py"], "losses/robust.py": None}
    both[STEP] = FILES[STEP].replace("huber(x, SIZES[1])", "huber(x, SIZES[1]) + other(1, 2)")
    both[STEP] = "from dlkit.losses.other import huber as other\n" + both[STEP]
    swapped = {**both, "losses/other.py": both["losses/other.py"].replace("/ 3", "/ 2")}
    swapped[REGRESSION] = FILES[REGRESSION].replace("/ 2", "/ 3")
    assert planted(swapped) != planted(both)


def test_a_file_can_be_renamed(planted):
    step = FILES[STEP].replace("losses.regression", "losses.squares")
    package = FILES["losses/__init__.py"].replace("losses.regression", "losses.squares")
    moved = {REGRESSION: None, "losses/squares.py": FILES[REGRESSION], STEP: step, "losses/__init__.py": package}
    assert planted(moved) == planted()
    renamed = FILES[STEP].replace("from dlkit import losses\n", "from dlkit.losses import regression\n")
    assert planted({STEP: renamed.replace("losses.mse", "regression.mse")}) == planted()  # called by its home


def test_a_function_can_move_to_another_file(planted):
    text = FILES[REGRESSION]
    start = text.index("def halved")
    moved = {
        "losses/halves.py": f'"""Halves."""\n\n{text[start:]}',
        REGRESSION: "from dlkit.losses.halves import halved\n" + text[:start].replace("# as", "# like"),
    }
    assert planted(moved) == planted()
    start = text.index("def mse")
    moved = {
        "losses/mse.py": f"import jax.numpy as jnp\n\nfrom dlkit.losses.regression import FACTOR\n\n{text[start:]}",
        REGRESSION: text[:start],
        "losses/__init__.py": "from dlkit.losses.mse import mse\n",
        STEP: FILES[STEP].replace("losses.regression", "losses.mse"),
    }
    assert planted(moved) == planted()


def test_a_local_name_is_no_reference(planted):
    """The parameter x of a function has nothing to do with an x of its module."""
    beside = {REGRESSION: f"{FILES[REGRESSION]}\n\nx = 1\n"}
    apart = {"losses/x.py": "x = 1\n", STEP: f"from dlkit.losses import x as _\n{FILES[STEP]}"}
    assert planted(beside) == planted(apart) != planted()


@pytest.mark.parametrize(
    "statement",
    [
        "import dlkit.extra",
        "from dlkit import extra",
        "from dlkit.extra import f",
        "def g():\n    from dlkit.extra import f",
    ],
)
def test_a_file_that_training_begins_to_import_counts(planted, tmp_path, statement):
    changes = {STEP: f"{FILES[STEP]}\n\n{statement}\n", "extra.py": "def f():\n    return 1\n"}
    before = planted(changes)
    assert planted({**changes, "extra.py": "def f():\n    return 2\n"}) != before
    assert "dlkit.extra" in reached_modules(tmp_path / "1" / "dlkit")
    assert planted({"extra.py": changes["extra.py"]}) == planted()  # a file that nobody imports


# --- dlkit itself ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_every_module_that_training_loads_is_reached():
    """The interpreter's own list of what importing the rooms loads."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in TRAINING_ROOMS
        for path in sorted((PACKAGE / "bench" / room).rglob("*.py"))
    ]
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name for name in process.stdout.split() if name.partition(".")[0] == "dlkit"}
    reached = reached_modules(PACKAGE)
    assert set(names) <= reached and "dlkit.losses.classification" in reached
    # The packages above the rooms, and what the topmost looks at on import, make no numbers.
    assert loaded - {"dlkit", "dlkit.bench", "dlkit.distribution"} <= reached


@pytest.mark.long
def test_what_concludes_from_numbers_does_not_count():
    rooms = {name.split(".")[2] for name in reached_modules(PACKAGE) if name.startswith("dlkit.bench.")}
    assert rooms - {*TRAINING_ROOMS} == {"doors", "errors", "identity", "machine", "plan"}


@pytest.mark.long
def test_dlkit_written_anew_without_comments_and_docstrings_is_the_same_code(tmp_path):
    """Every file as Python's own formatter writes it, and the version of the next release."""

    class Undocumented(ast.NodeTransformer):
        def visit_Expr(self, node):
            text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            return ast.Pass() if text else node

    copy = tmp_path / "dlkit"
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        source = re.sub(r"^__version__ = .*$", '__version__ = "99.0"', source, flags=re.MULTILINE)
        again = copy / path.relative_to(PACKAGE)
        again.parent.mkdir(parents=True, exist_ok=True)
        again.write_text(ast.unparse(Undocumented().visit(ast.parse(source))), encoding="utf-8")
    assert content_digest(copy) == content_digest(PACKAGE) == code_digest()


def test_a_program_is_identified_by_it():
    assert program_identity()["code"] == code_digest()


# --- the cache -------------------------------------------------------------------------------------------------------


@pytest.fixture
def computed(monkeypatch):
    """Counts how often the code is taken apart."""
    calls = []

    def digest(package):
        calls.append(package)
        return "0123456789abcdef" * 4

    monkeypatch.setattr(training_code, "content_digest", digest)
    return calls


def again():
    return code_digest.__wrapped__()


def test_the_digest_is_kept_for_the_next_process(tmp_path, monkeypatch, computed):
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    assert again() == again() == "0123456789abcdef" * 4
    assert computed == [PACKAGE]
    assert len(list((tmp_path / "code").iterdir())) == 1  # and nothing half-written


@pytest.mark.parametrize("damage", [b"", b"0123", b"\xff" * 64, b"0123456789abcdef" * 4 + b"\n0"])
def test_a_damaged_cache_is_written_again(tmp_path, monkeypatch, computed, damage):
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    again()
    (kept,) = (tmp_path / "code").iterdir()
    kept.write_bytes(damage)
    assert again() == again() == "0123456789abcdef" * 4
    assert len(computed) == 2


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(tmp_path, monkeypatch, computed):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path / "file"))
    assert again() == again() == "0123456789abcdef" * 4
    assert len(computed) == 2
