"""What is packed into a page is plotly.js: whole, or a known version without parts that nothing here needs."""

import base64
import gzip
import json
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import plotly.offline
import pytest

from dlkit.bench.report import plotly_bundle

ENTRY = re.compile(rb"\.register\(\[([^\]]*)\]\)")


def entries(library: bytes) -> list[bytes]:
    """The kinds of traces that are registered beside the one that always is there."""
    last = list(ENTRY.finditer(library))[-1]
    return [each for each in last[1].split(b",") if each]


def test_of_the_known_version_the_other_traces_are_left_out() -> None:
    whole, part = plotly.offline.get_plotlyjs().encode(), plotly_bundle.library()
    assert len(entries(whole)) > 40
    assert len(entries(part)) == len(plotly_bundle.TRACES) - 1
    assert set(entries(part)) < set(entries(whole))
    assert len(part) < 0.3 * len(whole)
    assert part.startswith(whole[:100])  # the licence
    assert b"Bundled license information" in part


def test_the_parts_are_of_the_version_that_is_pinned() -> None:
    known = json.loads((Path(plotly_bundle.__file__).parent / "plotly_parts.json").read_text(encoding="utf-8"))
    assert tuple(known["traces"]) == plotly_bundle.TRACES
    pinned = re.search(r"^plotly==(\S+)", Path("constraints.txt").read_text(encoding="utf-8"), re.M)
    if pinned and metadata.version("plotly") == pinned[1]:
        assert known["version"] == plotly.offline.get_plotlyjs_version(), "see benchmarks/plotly_parts.mjs"


def test_another_version_is_packed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotly.offline, "get_plotlyjs", lambda: "var Plotly = 1; // é")
    assert plotly_bundle.library().decode() == "var Plotly = 1; // é"


def test_the_loader_holds_the_library_and_ends_no_element() -> None:
    text = plotly_bundle.loader()
    packed = re.search(r'atob\("([A-Za-z0-9+/=]*)"\)', text)
    assert packed and gzip.decompress(base64.b64decode(packed[1])) == plotly_bundle.library()
    assert "</" not in text and "<!--" not in text
    assert len(text) < 600_000 and text.isascii()


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript engine here")
@pytest.mark.parametrize("missing", [False, True])
def test_the_promise_is_kept_or_says_why(missing: bool, tmp_path: Path) -> None:
    script = tmp_path / "page.js"
    stub = (
        "globalThis.window = globalThis; globalThis.document = {createElement: () => ({}), head: {appendChild: (it) => "
        "{ window.Plotly = it.textContent.length; }}};"
    )
    without = "delete globalThis.DecompressionStream;" if missing else ""
    then = "window.plotlyReady.then((it) => console.log(it), (error) => console.log(error.message));"
    script.write_text(f"{stub}{without}\n{plotly_bundle.loader()}\n{then}", encoding="utf-8")
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True, timeout=60)
    expected = str(len(plotly_bundle.library().decode())) if not missing else "The figures need a browser of 2023"
    assert done.stdout.startswith(expected)
