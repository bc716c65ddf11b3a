"""Lets the tests import what lies in `benchmarks`, which is no package."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
