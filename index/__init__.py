"""Vectors to items: the index file, and matching photos to candidates with it."""

from index.building import BuildReport, build_index
from index.candidates import read_candidates
from index.matching import Matcher
from index.recalibrating import CalibrationReport, calibrate_index
from index.results import Alternative, Match, Matches
from index.session import Session
from index.views import Views

__all__ = [
    "Alternative",
    "BuildReport",
    "CalibrationReport",
    "Match",
    "Matcher",
    "Matches",
    "Session",
    "Views",
    "build_index",
    "calibrate_index",
    "read_candidates",
]
