"""Vectors to items: the index file, and matching photos to candidates with it.

Importing this package costs next to nothing: what a name needs comes with its first use, so that
matching does not wait for what only building needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from index.auditing import audit
    from index.building import BuildReport, build_index
    from index.candidates import candidate_line, read_candidates
    from index.catalogue_scanning import Scanned, scan_catalogue
    from index.dask_building import build_index_on_dask
    from index.editing import AddReport, add_item, remove_items
    from index.evaluating import Evaluation, evaluate
    from index.exporting import export_vectors
    from index.findings import Audit
    from index.matching import Matcher
    from index.optimizing import SearchReport, optimize
    from index.recalibrating import CalibrationReport, calibrate_index
    from index.results import Alternative, Found, Match, Matches, Neighbour
    from index.row_file_making import make_row_file
    from index.session import Session
    from index.vector_building import VectorsReport, add_vectors, build_from_vectors
    from index.vector_files import read_vectors
    from index.verifying import Verified, verify_index
    from index.views import Views

__all__ = [
    "AddReport",
    "Alternative",
    "Audit",
    "BuildReport",
    "CalibrationReport",
    "Evaluation",
    "Found",
    "Match",
    "Matcher",
    "Matches",
    "Neighbour",
    "Scanned",
    "SearchReport",
    "Session",
    "VectorsReport",
    "Verified",
    "Views",
    "add_item",
    "add_vectors",
    "audit",
    "build_from_vectors",
    "build_index",
    "build_index_on_dask",
    "calibrate_index",
    "candidate_line",
    "evaluate",
    "export_vectors",
    "make_row_file",
    "optimize",
    "read_candidates",
    "read_vectors",
    "remove_items",
    "scan_catalogue",
    "verify_index",
]

_MODULE_OF = {
    "AddReport": "index.editing",
    "Alternative": "index.results",
    "Audit": "index.findings",
    "BuildReport": "index.building",
    "CalibrationReport": "index.recalibrating",
    "Evaluation": "index.evaluating",
    "Found": "index.results",
    "Match": "index.results",
    "Matcher": "index.matching",
    "Matches": "index.results",
    "Neighbour": "index.results",
    "Scanned": "index.catalogue_scanning",
    "SearchReport": "index.optimizing",
    "Session": "index.session",
    "VectorsReport": "index.vector_building",
    "Verified": "index.verifying",
    "Views": "index.views",
    "add_item": "index.editing",
    "add_vectors": "index.vector_building",
    "audit": "index.auditing",
    "build_from_vectors": "index.vector_building",
    "build_index": "index.building",
    "build_index_on_dask": "index.dask_building",
    "calibrate_index": "index.recalibrating",
    "candidate_line": "index.candidates",
    "evaluate": "index.evaluating",
    "export_vectors": "index.exporting",
    "make_row_file": "index.row_file_making",
    "optimize": "index.optimizing",
    "read_candidates": "index.candidates",
    "read_vectors": "index.vector_files",
    "remove_items": "index.editing",
    "scan_catalogue": "index.catalogue_scanning",
    "verify_index": "index.verifying",
}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
