"""Writes the page of the command line: what `--help` says, command by command."""

import io

from cyclopts import App
from rich.console import Console

from dlkit.bench.cli import app

__all__ = ["commands", "commands_page"]

INTRODUCTION = """# Command line

What `dlkit COMMAND --help` says. How commands go together is in [Compare from the command line](../command_line.md).
"""


def commands(top: App = app) -> list[str]:
    """Returns the names of the commands."""
    return sorted(name for name in top if not name.startswith("-"))


def commands_page() -> str:
    """Returns the page in MyST: a section per command."""
    sections = [INTRODUCTION]
    for name in commands():
        text = io.StringIO()
        app.help_print([name], console=Console(file=text, width=80, color_system=None))
        lines = [line.rstrip() for line in text.getvalue().strip().splitlines()]
        sections += [f"## dlkit {name}", "", "```text", *lines, "```", ""]
    return "\n".join(sections)
