"""What tests of the README and of the guide share: blocks of code from a page, run with a budget of seconds."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit import bench
from dlkit.bench import api

ROOT = Path(__file__).parent.parent
SMALL = {"steps": 20, "studies": 2, "tuning_points": 2, "seeds": 1, "evaluations": 2}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language on a page, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(page), re.DOTALL | re.MULTILINE)


EVERY = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
TESTED_ELSEWHERE = {
    "docs/models.md",
    "docs/runs.md",
    "docs/sharing.md",
}  # their code and commands belong together, in their order


def pages(language: str) -> list[str]:
    """The pages with a block of a language, without those that have tests of their own."""
    return [page for page in EVERY if blocks(page, language) and page not in TESTED_ELSEWHERE]


def commands() -> Iterator[tuple[str, str]]:
    """Every `dlkit ...` that a page shows, in a block or within a sentence: page, command."""
    for page in [*EVERY, "experiments/README.md"]:
        text = read(page)
        shown = [
            line
            for block in blocks(page, "console")
            for line in re.findall(r"^\$ (dlkit [a-z].*)", block, re.MULTILINE)
        ]
        for command in shown + re.findall(r"`(dlkit [a-z]+(?: [^`]+)?)`", text):
            yield page, command.partition("  #")[0].strip()


def shrink(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Lets `bench.compare` train for seconds, in this process; returns the list that its results are added to."""
    whole, results = api.compare, []

    def compare(**arguments: Any) -> Any:
        budget = dataclasses.replace(arguments.pop("budget", None) or bench.Budget(), **SMALL)
        arguments |= {"resources": bench.Resources(executor="inline"), "progress": False}
        results.append(whole(budget=budget, **arguments))
        return results[-1]

    monkeypatch.setattr(api, "compare", compare)
    return results


def run(page: str) -> dict[str, Any]:
    """Runs the Python of a page as one script; returns its names."""
    names: dict[str, Any] = {"__name__": Path(page).stem}
    exec(compile("\n".join(blocks(page, "python")), page, "exec"), names)
    return names
