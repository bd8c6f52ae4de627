"""The report in a real browser: nothing fails, every control does what it says, and everyone can read it."""

import csv
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlkit.bench.analysis import frames
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.plan.metric import Metric
from dlkit.bench.report.page import write_report
from tests.bench.synthetic import make_plan, make_problem, make_summary
from tests.browser.chromium import Chromium, executable

CHROMIUM = executable()
AXE = Path(os.environ.get("AXE", "build/axe/node_modules/axe-core/axe.min.js"))
LABELS = ("sgd", "adam", "lion", "muon", "lamb", "adagrad")
PROBLEMS = ("bowl", "cup", "plate")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: apt-get install chromium, or name one in the variable CHROMIUM"
)


@pytest.fixture(scope="module")
def summary() -> Summary:
    metrics = (None, Metric("higher"), Metric("lower", "log", "gap"))
    problems = [make_problem(name, metric=metric) for name, metric in zip(PROBLEMS, metrics, strict=True)]
    return make_summary(make_plan(LABELS, problems=problems, seeds=6), failed=["lamb"])


@pytest.fixture(scope="module")
def report(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(summary, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    assert CHROMIUM is not None
    browser = Chromium(CHROMIUM)
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Chromium, report: Path) -> Iterator[Chromium]:
    """The report, just opened at 1400 pixels; whatever a test does must leave the console empty."""
    chromium.open(report)
    yield chromium
    assert chromium.complaints() == []


def choose(page: Chromium, control: str, value: str) -> None:
    page.js(f"{{ const it = document.getElementById('{control}'); it.value = '{value}'; "
            "it.dispatchEvent(new Event('change')); }")  # fmt: skip


def curves(page: Chromium) -> None:
    """Waits for the first figure of curves."""
    page.js("document.querySelector('.card .figure').scrollIntoView()")
    page.wait("document.querySelector('.card .figure').dataset.done === 'yes'")


CURVES = "document.querySelector('.card .figure')"


def test_all_figures_are_drawn(page: Chromium) -> None:
    page.js("document.getElementById('unfold').click()")
    page.resize(1400, 12000)
    page.wait("Array.from(document.querySelectorAll('.figure')).every(each => each.dataset.done === 'yes')")
    assert page.js("document.querySelectorAll('.figure').length") >= 4 * len(PROBLEMS)
    assert page.js("document.querySelectorAll('.figure .main-svg').length") > 0


def test_the_first_screen_has_the_answer(page: Chromium, summary: Summary) -> None:
    """At 1400 x 900: the sentence, the picture, and the last row of the table."""
    places = "['.headline', '.picture', 'table.answer'].map(each => document.querySelector(each))"
    bottoms = page.js(f"{places}.map(each => each.getBoundingClientRect().bottom)")
    assert bottoms == sorted(bottoms) and bottoms[-1] <= 900
    assert page.js("document.querySelectorAll('table.answer tbody tr').length") == len(LABELS)


@pytest.mark.parametrize("width", [1400, 420])
def test_nothing_is_wider_than_the_window(page: Chromium, width: int) -> None:
    page.resize(width)
    page.js("document.getElementById('unfold').click()")
    page.wait("document.documentElement.scrollWidth <= document.documentElement.clientWidth")  # figures take a moment
    cut = page.js(
        "Array.from(document.querySelectorAll('td, th, p, li, h3, summary')).filter(each => each.offsetParent && "
        "each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX === 'hidden' "
        "&& !each.matches('.unseen')).map(each => each.textContent)"
    )
    assert cut == []


def test_the_side_is_folded_in_a_narrow_window(page: Chromium) -> None:
    shown = (
        "document.querySelector('.side nav').checkVisibility({contentVisibilityAuto: true, checkVisibilityCSS: true})"
    )
    assert page.js(shown)
    page.resize(420)
    page.wait(f"!({shown})")
    page.js("document.querySelector('#side > summary').click()")
    page.wait(shown)


def test_a_contender_is_hidden_everywhere(page: Chromium) -> None:
    curves(page)
    adam = LABELS.index("adam")
    rows = (
        f"Array.from(document.querySelectorAll('table.answer tr[data-of=c{adam}]')).filter(each => !each.hidden).length"
    )
    marks = f"getComputedStyle(document.querySelector('.picture g[data-of=c{adam}]')).display !== 'none'"
    traces = f"{CURVES}.data.filter(each => each.legendgroup === 'adam' && each.visible !== false).length"
    assert (page.js(rows), page.js(marks), page.js(traces)) == (1, True, 2)
    page.js(f"document.querySelector('[data-show=c{adam}]').click()")
    page.wait(f"{traces} === 0")
    assert (page.js(rows), page.js(marks)) == (0, False)
    assert page.js(f"{CURVES}.data.filter(each => each.legendgroup === 'sgd' && each.visible !== false).length") == 2
    page.js("document.querySelector('[data-none=c]').click()")
    assert page.js("Array.from(document.querySelectorAll('table.answer tbody tr')).every(each => each.hidden)")
    page.js("document.querySelector('[data-all=c]').click()")
    page.wait(f"{traces} === 2")
    assert page.js(rows) == 1


def test_a_problem_is_hidden_everywhere(page: Chromium) -> None:
    shown = "Array.from(document.querySelectorAll('[data-of=p1]')).filter(each => each.checkVisibility()).length"
    assert page.js(shown) > 3  # in the contents, the picture, the table, and its card
    page.js("document.querySelector('[data-show=p1]').click()")
    assert page.js(shown) == 0
    assert page.js("document.querySelectorAll('article.card:not([hidden])').length") == len(PROBLEMS) - 1


def test_curves_against_another_axis(page: Chromium) -> None:
    """One gradient a step: gradients lie where steps do. Nothing was timed."""
    curves(page)
    before = page.js(f"Array.from({CURVES}._fullData[1].x)")
    assert before == [0, 10, 20, 30, 40]
    choose(page, "x-axis", "gradients")
    page.wait(f"{CURVES}.layout.xaxis.title.text.startsWith('gradients')")
    assert page.js(f"Array.from({CURVES}._fullData[1].x)") == before
    choose(page, "x-axis", "seconds")
    page.wait("document.querySelector('.no-axis:not([hidden])') !== null")
    assert "seconds" in page.js("document.querySelector('.no-axis:not([hidden])').textContent")
    choose(page, "x-axis", "")
    page.wait(f"{CURVES}.layout.xaxis.title.text === 'steps'")


def test_curves_on_either_scale(page: Chromium) -> None:
    curves(page)
    assert page.js(f"{CURVES}.layout.yaxis.type") == "linear"
    low, high = page.js(f"{CURVES}.layout.yaxis.range")
    choose(page, "y-scale", "log")
    page.wait(f"{CURVES}.layout.yaxis.type === 'log'")
    ends = page.js(f"{CURVES}.layout.yaxis.range")
    assert ends[0] < ends[1] and 10 ** ends[1] == pytest.approx(high)
    note = page.js(f"{CURVES}.layout.annotations[0].y")
    assert 10**note == pytest.approx(0.1)  # the target of the problem
    choose(page, "y-scale", "linear")
    page.wait(f"{CURVES}.layout.yaxis.type === 'linear'")
    assert page.js(f"{CURVES}.layout.yaxis.range") == [low, high]


def test_light_and_dark(page: Chromium) -> None:
    curves(page)
    ground = "getComputedStyle(document.body).backgroundColor"
    font = f"{CURVES}.layout.font.color"
    light, ink = page.js(ground), page.js(font)
    choose(page, "theme", "dark")
    page.wait(f"{font} !== '{ink}'")
    dark = page.js(ground)
    assert light == "rgb(255, 255, 255)" and dark != light
    choose(page, "theme", "")
    page.wait(f"{font} === '{ink}'")
    page.scheme(dark=True)
    page.wait(f"{font} !== '{ink}'")
    assert page.js(ground) == dark
    page.scheme(dark=False)


def test_cards_fold(page: Chromium) -> None:
    open_ones = "document.querySelectorAll('main details[open]').length"
    page.js("document.getElementById('fold').click()")
    assert page.js(open_ones) == 0
    page.js("document.querySelector('nav a[href=\"#problem-2\"]').click()")
    page.wait("document.querySelector('#problem-2 > details').open")
    page.js("document.getElementById('unfold').click()")
    assert page.js(open_ones) == page.js("document.querySelectorAll('main details').length")


def test_terms_explain_themselves_from_the_keyboard(page: Chromium) -> None:
    page.js("document.querySelector('a.term[href=\"#read-blocks\"]').focus()")
    page.press("Enter", code=13)
    page.js("document.activeElement.click()")  # what Enter does, where a headless window has no focus
    page.wait("document.getElementById('popover').matches(':popover-open')")
    assert page.js("document.getElementById('popover').textContent").startswith("Block")
    page.press("Escape", code=27)
    page.wait("!document.getElementById('popover').matches(':popover-open')")
    assert page.js("document.activeElement.getAttribute('href')") == "#read-blocks"


def test_everything_is_reached_by_tab(page: Chromium) -> None:
    """Whatever takes a click takes the focus, and nothing is put out of the order."""
    odd = page.js(
        "Array.from(document.querySelectorAll('main a, main summary, .side a, button, select, input'))"
        ".filter(each => each.tabIndex < 0 || each.tabIndex > 0).map(each => each.outerHTML)"
    )
    assert odd == []


@pytest.mark.parametrize("ending", ["csv", "json"])
@pytest.mark.parametrize("name", ["trials", "curves"])
def test_numbers_are_kept(page: Chromium, summary: Summary, name: str, ending: str, tmp_path: Path) -> None:
    page.download_to(tmp_path)
    page.js(f"document.querySelector('[data-download={name}][data-as={ending}]').click()")
    file = tmp_path / f"synthetic-{name}.{ending}"
    until = time.monotonic() + 20
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    text = file.read_text(encoding="utf-8")
    rows = json.loads(text) if ending == "json" else list(csv.DictReader(io.StringIO(text, newline="")))
    expected = getattr(frames, name)(summary)
    assert len(rows) == len(expected) and list(rows[0]) == list(expected.columns)
    for row, (_, wanted) in list(zip(rows, expected.iterrows(), strict=True))[:: max(len(rows) // 50, 1)]:
        assert str(row["optimizer"]) == wanted["optimizer"] and int(row["seed"]) == wanted["seed"]
        if wanted["value"] == wanted["value"]:
            assert float(row["value"]) == pytest.approx(float(wanted["value"]), rel=1e-7)
        else:
            assert row["value"] in (None, "")


def test_printing_opens_cards_and_is_light(page: Chromium) -> None:
    choose(page, "theme", "dark")
    page.js("document.getElementById('fold').click()")
    page.js("dispatchEvent(new Event('beforeprint'))")
    page.wait("Array.from(document.querySelectorAll('.card .figure')).filter(each => each.offsetParent)"
              ".every(each => each.dataset.done === 'yes')")  # fmt: skip
    assert page.js("document.querySelectorAll('.card > details[open]').length") == len(PROBLEMS)
    assert page.js(f"{CURVES}.layout.font.color").lower() == "#1f2933"
    page.js("dispatchEvent(new Event('afterprint'))")
    assert page.js("document.querySelectorAll('.card > details[open]').length") == 0
    choose(page, "theme", "")


def test_what_is_printed_at_once_is_light_and_says_what_is_not_drawn(chromium: Chromium, report: Path) -> None:
    """As the browser's own menu prints: it does not wait for figures that are yet to be drawn, or drawn anew."""
    chromium.open(report, dark=True)
    chromium.js("document.querySelector('.card .figure').scrollIntoView()")
    chromium.wait("document.querySelector('.card .figure').dataset.dark !== undefined")
    chromium.send("Emulation.setEmulatedMedia", media="print", features=[])
    assert "invert" in chromium.js("getComputedStyle(document.querySelector('.card .figure[data-dark]')).filter")
    chromium.send("Emulation.setEmulatedMedia", media="", features=[])
    waiting = "Array.from(document.querySelectorAll('.figure:not([data-done])'))"
    assert chromium.js(f"{waiting}.every(each => /^Not drawn yet/.test(each.textContent))")
    choose(chromium, "theme", "light")
    chromium.wait("document.querySelectorAll('.figure[data-dark]').length === 0")
    choose(chromium, "theme", "")


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: make test-browser installs it")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 420])
def test_axe_finds_no_serious_fault(chromium: Chromium, report: Path, width: int, dark: bool) -> None:
    chromium.open(report, width=width, dark=dark)
    chromium.js("document.getElementById('unfold').click()")
    curves(chromium)
    chromium.js(AXE.read_text(encoding="utf-8"))
    found = chromium.js("axe.run(document, {resultTypes: ['violations']}).then(each => each.violations)")
    serious = [
        (each["id"], each["help"], [node["html"][:160] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]
    assert serious == []
