"""Vectors to items: the index file, and matching photos to candidates with it."""

from index.building import BuildReport, build_index
from index.candidates import read_candidates
from index.matching import Match, Matcher, missing

__all__ = ["BuildReport", "Match", "Matcher", "build_index", "missing", "read_candidates"]
