"""A run as a folder of CSV files, with a page for people and a description for programs.

A missing value is an empty cell. Numbers have all their digits; those that are not finite are ``NaN``, ``inf`` and
``-inf``. Booleans are ``true`` and ``false``.
"""

import json
from pathlib import Path

from dlkit.bench.escapes import in_csv, in_markdown, starting_markdown
from dlkit.bench.export.contents import Contents, Table
from dlkit.bench.export.json_file import facts_of
from dlkit.bench.export.placing import MARK

__all__ = ["describe", "write_csv"]

HOW = """An empty cell is a missing value. Numbers have all their digits; `NaN`, `inf` and `-inf` are numbers that are
not finite: in curves, where a trial diverged; in intervals, ends that the data do not bound. Texts are UTF-8; before
one that a spreadsheet would take for a formula stands an apostrophe, and signs that cannot be seen are written as
`\\x1b`."""


def write_csv(found: Contents, folder: Path) -> None:
    """Writes a file a table.

    Args:
        found: the run.
        folder: an empty one.

    Raises:
        OSError: if it cannot be written.
    """
    for each in found.tables:
        _to_csv(each, folder / f"{each.name}.csv")
    describe(found, folder, ending="csv", how=HOW)


def describe(found: Contents, folder: Path, *, ending: str, how: str) -> None:
    """Writes README.md and export.json: what each table and each of its columns is.

    Args:
        found: the run.
        folder: of its files.
        ending: of their names.
        how: how values are written, in Markdown.
    """
    facts = found.facts
    lines = [
        f"# {in_markdown(facts['run'])}",
        "",
        starting_markdown(f"{facts['answer']} {' '.join(facts['caveats'])}"),
        "",
        f"Written by dlkit {facts['dlkit']} from spec {facts['spec']}; {facts['trials']} trials, "
        f"{facts['missing_trials']} still to run. `{MARK}` says the same to programs, with the whole plan.",
        "",
        how,
    ]
    for each in found.tables:
        rows = len(each.frame)
        lines += ["", f"## {each.name}.{ending}", "", f"A row is {each.text}; {rows} row{'s' * (rows != 1)}.", ""]
        lines += ["| column | kind | unit | meaning |", "| --- | --- | --- | --- |"]
        lines += [f"| {in_markdown(c.name)} | {c.kind} | {c.unit} | {c.text} |" for c in each.columns]
    (folder / "README.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (folder / MARK).write_text(json.dumps(facts_of(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _to_csv(table: Table, path: Path) -> None:
    frame = table.frame.copy()
    for column in table.columns:
        if column.kind == "text":
            frame[column.name] = frame[column.name].map(in_csv)
        elif column.kind == "boolean":
            frame[column.name] = frame[column.name].map({True: "true", False: "false"}).fillna("")
        elif column.kind == "number" and column.holds_nan:
            values = frame[column.name]
            frame[column.name] = values.astype(object).where(values.notna(), "NaN")
    frame.rename(columns=in_csv).to_csv(path, index=False, lineterminator="\n")
