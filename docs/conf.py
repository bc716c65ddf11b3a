"""How Sphinx builds the site: `make docs`."""

from embedder.version import __version__

project = "embed"
author = "the authors of embed"
release = version = __version__
project_copyright = ""

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
root_doc = "index"
myst_heading_anchors = 3  # as Git hosts make them, for links to headings

html_theme = "furo"
html_title = f"embed {__version__}"
html_show_copyright = html_show_sphinx = html_copy_source = False

default_role = "code"  # what docstrings set in backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
napoleon_use_ivar = True  # a dataclass has its fields once, with the texts under Attributes

# A reference must lead somewhere. Left out are types in signatures: of other projects, whose lists of
# names would have to be fetched, and of modules of ours that are no part of the reference.
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(collections|numpy|os|pathlib|pd|PIL)\..+"),
    ("py:class", r"(embedder|index)\.[a-z_]+\..+"),
]
