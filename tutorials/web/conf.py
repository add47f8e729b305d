"""How Sphinx renders the tutorials; `build.py` beside this file calls it."""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

log = logging.getLogger(__name__)

project = "minibert"
html_title = "minibert: the tutorials"
html_theme = "furo"
html_show_copyright = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}

extensions = ["myst_nb"]
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"  # the notebooks hold their outputs already
nb_merge_streams = True
html_math_renderer = "mathml"


def setup(app: Sphinx) -> None:
    """Formulas in MathML, which browsers show by themselves. MathJax would have to come over the network."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))


def inline_formula(writer: Any, node: nodes.math) -> None:
    writer.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def displayed_formula(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math">{mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def mathml(node: nodes.Element, as_block: bool) -> str:
    formula = node.astext()
    try:
        return tex2mathml(formula, as_block=as_block)
    except MathError as error:
        log.warning("the formula %s cannot be shown: %s", formula, error, location=node)
        return f"<code>{html.escape(formula)}</code>"
