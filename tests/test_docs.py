"""The reference pages: every public name is on one, every activation and every loss has a plot."""

import ast
import inspect
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import dlkit
from dlkit import activations, gan_losses, losses
from dlkit.bench import cli
from dlkit.bench.problems import catalog
from docs import command_page, formulas, pages, plots, problem_pages

ROOT = Path(__file__).parent.parent
HELPERS = {
    "activations.get",
    "gan_losses.get",
    "gan_losses.gradient_penalty",
    "gan_losses.r1_penalty",
    "losses.concordance_index",
    "losses.masked_mean",
}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_activation_and_loss_has_a_plot() -> None:
    expected = {
        f"{module.__name__.removeprefix('dlkit.')}.{name}"
        for module in (activations, losses, gan_losses)
        for name in module.__all__
        if inspect.isfunction(inspect.unwrap(getattr(module, name)))
    }
    assert expected - HELPERS <= set(plots.PLOTS)


@pytest.mark.long
@pytest.mark.parametrize("name", plots.PLOTS)
def test_curves_are_finite_and_different(name: str) -> None:
    plot = plots.PLOTS[name]
    x = np.linspace(*plot.limits, 5, dtype=np.float32)
    values = [[float(curve(plots.jnp.asarray(each))) for each in x] for curve in plot.curves.values()]
    assert np.isfinite(values).all()
    assert len({tuple(each) for each in values}) == len(values)


def test_a_plot_is_the_same_image_every_time() -> None:
    first, second = plots.draw("activations.gelu"), plots.draw("activations.gelu")
    assert first == second
    assert ElementTree.fromstring(first).tag.endswith("svg")


@pytest.mark.parametrize("family", pages.FAMILIES)
def test_every_public_name_is_on_its_page(family: str) -> None:
    module = pages.importlib.import_module(f"dlkit.{family}")
    text = pages.page(family, module)
    for name in module.__all__:
        assert f":: dlkit.{family}.{name}\n" in text


@pytest.mark.long
def test_every_problem_is_on_its_page() -> None:
    text = problem_pages.problems_page()
    for name, entry in catalog.ENTRIES.items():
        assert f"| `{name}` |" in text
        assert f".. autofunction:: {entry.make.__module__}.{entry.make.__name__}\n" in text


def test_bars_of_formulas_are_text_and_examples_stay() -> None:
    lines = ["|x| is 1.", "", "    >>> 1 | 2", "    3", "", "|y|"]
    assert pages.plain_bars(lines) == [r"\|x\| is 1.", "", "    >>> 1 | 2", "    3", "", r"\|y\|"]


def test_pages_that_have_not_changed_are_not_written_again(tmp_path) -> None:
    page = tmp_path / "page.md"
    pages._write(page, b"text")
    before = page.stat().st_mtime_ns
    pages._write(page, b"text")
    assert page.stat().st_mtime_ns == before


@pytest.mark.parametrize("family", pages.FAMILIES)
def test_headings_are_short(family: str) -> None:
    module = pages.importlib.import_module(f"dlkit.{family}")
    headings = re.findall(r"^## (.*)", pages.page(family, module), re.MULTILINE)
    assert all(len(heading) <= 50 for heading in headings) and len({*headings}) == len(headings)


def test_every_short_heading_is_of_a_module_that_is_there() -> None:
    assert all(pages.importlib.import_module(name) for name in pages.SHORT)


def test_every_command_is_on_its_page() -> None:
    text = command_page.commands_page()
    assert {"check", "doctor", "list", "replay", "report", "run", "show"} <= {*command_page.commands()}
    assert all(f"\n## dlkit {name}\n" in text for name in command_page.commands())
    assert "--studies INT" in text and max(map(len, text.partition("```")[2].splitlines())) <= 80


# --- formulas --------------------------------------------------------------------------------------------------------

WITHOUT_A_FORMULA = {"activations.get", "gan_losses.get", "losses.concordance_index", "losses.masked_mean"}


def test_every_activation_and_loss_has_a_formula_and_every_formula_a_function() -> None:
    expected = {
        f"{module.__name__.removeprefix('dlkit.')}.{name}"
        for module in (activations, losses, gan_losses)
        for name in module.__all__
        if inspect.isfunction(inspect.unwrap(getattr(module, name)))
        or isinstance(getattr(module, name), gan_losses.GanLoss)
    }
    named = {*formulas.FORMULAS}
    assert expected - WITHOUT_A_FORMULA <= named
    for name in named:
        family, _, function = name.rpartition(".")
        assert function in pages.importlib.import_module(f"dlkit.{family}").__all__


@pytest.mark.parametrize("name", formulas.FORMULAS)
def test_formulas_become_well_formed_mathml(name: str) -> None:
    mathml = pytest.importorskip("docs.mathml", reason="needs the extra 'docs'")
    element = ElementTree.fromstring(mathml.mathml(formulas.FORMULAS[name], display=True))
    assert element.tag == "{http://www.w3.org/1998/Math/MathML}math" and element.get("display") == "block"
    assert element.get("alttext") == formulas.FORMULAS[name]
    assert "\\" not in "".join(element.itertext())  # a command that was not understood


def test_a_formula_stands_after_the_first_paragraph() -> None:
    assert pages.with_formula(["One.", "", "Two."], "x") == ["One.", "", ".. math::", "", "   x", "", "", "Two."]
    assert pages.with_formula(["One."], "x") == ["One.", "", ".. math::", "", "   x", ""]


@pytest.mark.long
def test_the_commands_and_examples_of_runs_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = read("docs/runs.md")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "runs"}
    found = re.findall(r"```(toml|console|python)\n(.*?)```", page, re.DOTALL)
    assert [kind for kind, _ in found].count("console") == 6
    for kind, text in found:
        if kind == "toml":
            (tmp_path / "spec.toml").write_text(text)
        elif kind == "python":
            exec(text, names)
        for line in text.splitlines() if kind == "console" else ():
            words = shlex.split(line.removeprefix("$ python -m ").removeprefix("$ "))[1:]
            words += ["--executor", "inline", "--no-report"] if words[0] == "run" else []
            assert cli.app(words, result_action="return_value", exit_on_error=False) in (0, None), line
    assert (tmp_path / "both.html").exists() and (tmp_path / "completion.bash").exists()
    assert capsys.readouterr().out.count("shard ") == 3
    assert [each.label for each in names["both"].summary.plan.contenders] == ["sgd", "adam", "nadam"]
    assert names["model"].contender == "nadam"


# --- documents about the repository ----------------------------------------------------------------------------------

PLACES = re.findall(r"^\| ([^|]+) \| `(dlkit/[\w/]+\.py)` \| `([\w.]+)` \|$", read("ARCHITECTURE.md"), re.MULTILINE)
INCLUDING = {"architecture.md", "changelog.md", "contributing.md", "security.md"}
PROSE = (
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "README.md",
    "benchmarks/README.md",
    "experiments/README.md",
    *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md") if path.name not in INCLUDING),
    "docs/extending/index.md",
)


def definitions(path: str) -> set[str]:
    """Names that a module defines: functions, classes, constants, and methods as ``Class.method``."""
    found = set()
    for node in ast.parse(read(path)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}.{each.name}" for each in inner if isinstance(each, ast.FunctionDef)}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("concept", "path", "name"), PLACES, ids=[concept for concept, _, _ in PLACES])
def test_what_is_looked_for_is_where_the_architecture_says(concept: str, path: str, name: str) -> None:
    assert name in definitions(path), f"{concept}: {path} has no {name}"


def test_the_architecture_says_of_many_things_where_they_are() -> None:
    rows = read("ARCHITECTURE.md").partition("## Where is ...?")[2].count("\n| ") - 1  # but for the table's head
    assert len(PLACES) == rows >= 20
    assert len({concept for concept, _, _ in PLACES}) == len(PLACES)


def test_every_folder_of_the_bench_has_its_paragraph_and_its_place_in_the_order() -> None:
    text = read("ARCHITECTURE.md")
    order = text.partition("## What may import what")[2].split("```")[1]
    for path in sorted((ROOT / "dlkit" / "bench").glob("*/__init__.py")):
        room = path.parent.name
        assert f"\n- **`{room}/`** " in text
        assert len(re.findall(rf"\b{room}\b", order)) == 1


@pytest.mark.parametrize("document", PROSE)
def test_documents_name_files_and_tests_that_exist(document: str) -> None:
    text = read(document)
    named = set(re.findall(r"`((?:dlkit|tests|benchmarks|docs|experiments)/[\w/.]*\w/?)`", text))
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    here = (ROOT / document).parent
    named -= {"docs/_build"}  # what `make docs` makes, as it does the pages of the reference
    made = {f"{here.name}/reference/{name}.md" for name in (*pages.FAMILIES, "problems", "command_line")}
    assert not [path for path in named if not (ROOT / path).exists()]
    assert not [link for link in links if f"{here.name}/{link}" not in made and not (here / link).exists()]
    tests = {
        name for path in ROOT.glob("tests/**/*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert set(re.findall(r"`(test_\w+)`", text)) <= tests


def test_every_benchmark_and_experiment_is_listed() -> None:
    listed = read("benchmarks/README.md")
    scripts = {path.stem for path in ROOT.glob("benchmarks/*.py")} - {"__init__", "block_simulation", "compile_clock"}
    assert not [script for script in scripts if f"| `{script}` |" not in listed]
    folders = {path.parent.name for path in ROOT.glob("experiments/*/*") if path.suffix in (".toml", ".py")}
    assert not [folder for folder in folders if f"[`{folder}`](./{folder}/" not in read("experiments/README.md")]


def test_the_citation_has_what_the_format_asks_for_and_this_version() -> None:
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what 1.2.0 requires
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["version"] == dlkit.__version__ and citation["license"] == "Apache-2.0"
    assert all(author["name"] for author in citation["authors"])


def test_hooks_are_of_this_repository_alone() -> None:
    yaml = pytest.importorskip("yaml")
    repositories = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [each["repo"] for each in repositories] == ["local"]
    entries = [hook["entry"] for hook in repositories[0]["hooks"]]
    assert "make fix" in entries and "\nfix: " in read("Makefile")
    assert any(entry.endswith("tests/test_architecture.py") for entry in entries)


def test_every_promise_about_a_fault_names_tests_that_exist() -> None:
    rows = [line.strip("|").split("|") for line in read("docs/reliability.md").splitlines() if line.startswith("| ")]
    assert len(rows) > 2
    for row in rows[1:]:
        fault, *_, tests = (cell.strip() for cell in row)
        named = re.findall(r"`(tests/[^`]+\.py)(?:::(\w+))?`", tests)
        assert named, f"{fault}: no test"
        for path, function in named:
            assert f"def {function or 'test_'}" in read(path), f"{fault}: {path} has no {function or 'test'}"
