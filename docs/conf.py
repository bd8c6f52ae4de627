"""Sphinx configuration; the reference pages and plots are made from the code before every build.

Run from the repository's root: `make docs`.
"""

from pathlib import Path

import dlkit
from docs.pages import plain_bars, write_pages

write_pages(Path(__file__).parent / "reference")

project = "dlkit"
author = "the dlkit authors"
release = version = dlkit.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"dlkit {release}"
autodoc_preserve_defaults = True  # `lecun_normal()`, not the address of a function
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Reference", "notes")]
myst_heading_anchors = 2


def _process_docstring(app, what, name, value, options, lines) -> None:
    """Changes the lines of a docstring in place, as Sphinx asks."""
    lines[:] = plain_bars(lines)


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process_docstring)
