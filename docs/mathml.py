"""Formulas as MathML, made when the pages are built: browsers typeset it, without scripts or a network."""

import html
import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

__all__ = ["mathml", "setup"]


def mathml(latex: str, *, display: bool) -> str:
    """Returns a formula as a `math` element.

    Args:
        latex: the formula.
        display: whether it stands in a line of its own.
    """
    element = convert(latex, display="block" if display else "inline")
    element = re.sub(
        r"(<mi>(?:cos|cosh|log|sin|tanh)</mi>)(?!<mo [^>]*>&#x00028;)", r'\1<mspace width="0.17em"/>', element
    )
    return element.replace("<math ", f'<math alttext="{html.escape(latex)}" ', 1)


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), display=False))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True}
