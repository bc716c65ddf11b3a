"""How Sphinx builds the site: `make docs`."""

import re

from sphinx.application import Sphinx

from embedder.version import __version__

project = "embed"
author = "the authors of embed"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
root_doc = "index"
myst_heading_anchors = 3  # as Git hosts make them, for links to headings

html_theme = "furo"
html_title = f"embed {__version__}"
html_show_copyright = html_show_sphinx = html_copy_source = False

default_role = "code"  # what docstrings set in backticks
autodoc_member_order = "bysource"
autodoc_mock_imports = ["keras", "tensorflow"]  # only to read docstrings: seconds less
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True  # a dataclass has its fields once, with the texts under Attributes

# A reference must lead somewhere. Left out are types in signatures: of other projects, whose lists
# of names would have to be fetched, of modules of ours that are no part of the reference, and
# alternatives, which Sphinx cuts in two at the comma.
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r"typing\.Literal.+"),
    ("py:class", r"(collections|numpy|os|pathlib|pd|PIL)\..+"),
    ("py:class", r"(embedder|index)\.[a-z_]+\..+"),
]

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+(?:benchmarks/)?[A-Z]+\.md)\)")


def _link_files_beside_docs(app: Sphinx, page: str, source: list[str]) -> None:
    """Links from the pages to README.md and the like: files to be had, being no pages."""
    source[0] = _OUTSIDE.sub(r"{download}`\1 <\2>`", source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _link_files_beside_docs)
