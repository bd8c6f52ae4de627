"""The reference pages: every public name is on one, every activation and every loss has a plot."""

import inspect
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from dlkit import activations, gan_losses, losses
from dlkit.bench.problems import catalog
from docs import pages, plots, problem_pages

HELPERS = {"activations.get", "gan_losses.get", "gan_losses.gradient_penalty", "gan_losses.r1_penalty"}


def test_every_activation_and_loss_has_a_plot() -> None:
    expected = {
        f"{module.__name__.removeprefix('dlkit.')}.{name}"
        for module in (activations, losses, gan_losses)
        for name in module.__all__
        if inspect.isfunction(inspect.unwrap(getattr(module, name)))
    }
    assert expected - HELPERS <= set(plots.PLOTS)


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


def test_the_examples_of_own_problems_run_as_one_script() -> None:
    page = (Path(__file__).parent.parent / "docs" / "own_problems.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "own_problems"}
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), names)
    assert [problem.metric for problem in names["made"]] == ["loss"] * 4
    curve = names["trained"].curve
    assert curve["squared_error"].iloc[-1] < curve["squared_error"].iloc[0]
    assert {"accuracy", "squared_error", "training_loss"} <= set(curve.columns)
