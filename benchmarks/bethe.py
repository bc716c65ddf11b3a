"""How far the Bethe approximation is from exact marginals.

Run `python benchmarks/bethe.py`. Ten seeded matrices a cell, of n photos and n pieces with normal
log odds about 0, and about 12, where none is out of the question: worst and mean error of a pair.
"""

from __future__ import annotations

import argparse

import numpy as np

from index.marginals import bethe_marginals, exact_marginals

SIZES = (4, 6, 8, 10, 12)
CELLS = ((0, 1), (0, 3), (0, 5), (12, 1), (12, 3))


def cell(size: int, centre: int, spread: int) -> str:
    """Worst and mean error."""
    drawn = np.random.default_rng([size, spread]).normal(centre, spread, (10, size, size))
    errors = [np.abs(bethe_marginals(odds) - exact_marginals(odds)) for odds in drawn]
    return f"{np.max(errors):.3f}, {np.mean(errors):.4f}"


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("   n" + "".join(f"{f'{spread} about {centre}':>16}" for centre, spread in CELLS))
    for size in SIZES:
        print(f"{size:>4}" + "".join(f"{cell(size, *which):>16}" for which in CELLS), flush=True)


if __name__ == "__main__":
    main()
