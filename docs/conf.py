"""Sphinx configuration; the reference pages and plots are made from the code before every build.

Run from the repository's root: `make docs`.
"""

from pathlib import Path

import dlkit
from docs.formulas import FORMULAS
from docs.pages import plain_bars, with_formula, write_pages

write_pages(Path(__file__).parent / "reference")

project = "dlkit"
author = copyright = "the dlkit authors"  # noqa: A001 (the name that Sphinx reads)
release = version = dlkit.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docs.mathml"]
html_math_renderer = "mathml"  # typeset by the browser, from disk too
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_title = f"dlkit {release}"
autodoc_preserve_defaults = True  # `lecun_normal()`, not the address of a function
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Reference", "notes")]
myst_heading_anchors = 3  # the glossary's terms


def _process_docstring(app, what, name, value, options, lines) -> None:
    """Changes the lines of a docstring in place, as Sphinx asks."""
    formula = FORMULAS.get(name.removeprefix("dlkit."))
    lines[:] = with_formula(plain_bars(lines), formula) if formula else plain_bars(lines)


def _process_signature(app, what, name, value, options, signature, returns) -> tuple[str | None, str | None]:
    """Calls an array what it is called in code."""
    return tuple(text.replace("jaxlib._jax.Array", "Array") if text else text for text in (signature, returns))


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process_docstring)
    app.connect("autodoc-process-signature", _process_signature)
