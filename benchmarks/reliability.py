"""How right confidences are: what chance makes of it, reliability diagrams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.measures import bins, expected_calibration_error

Floats = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]


def error_by_chance(confidence: Floats, photo: npt.NDArray[np.int64], draws: int = 50) -> float:
    """The mean ECE of confidences that are all right, where a photo is asked about repeatedly.

    A photo that is easy is right in all its draws, so one random number decides them all.
    """
    rng = np.random.default_rng(0)
    which = np.unique(photo, return_inverse=True)[1]
    lucky = (rng.random(which.max() + 1)[which] < confidence for _ in range(draws))
    return float(np.mean([expected_calibration_error(confidence, right) for right in lucky]))


def kept_at(score: Floats, right: Flags, known: Flags, false: float = 0.01) -> float:
    """Share of the known photos whose right matches are kept where 1 % of those kept are false."""
    order = np.argsort(-score, kind="stable")
    kept, wrong = np.cumsum(right[order]), np.cumsum(~right[order])
    allowed = wrong <= false * np.arange(1, len(order) + 1)
    return float(kept[allowed].max(initial=0)) / max(1, int(known.sum()))


def text_diagram(confidence: Floats, right: Flags) -> str:
    """A reliability diagram in lines of text, of ten bins."""
    lines = [f"{'confidence':>10}{'right':>8}{'answers':>9}"]
    for mean, share, count in bins(confidence, right, 10):
        bar = "#" * round(40 * share)
        lines.append(f"{mean:>10.3f}{share:>8.3f}{count:>9}  {bar}")
    return "\n".join(lines)


def draw_reliability(
    diagrams: dict[tuple[str, bool], tuple[Floats, Flags]], file: Path, side: int = 220
) -> None:
    """An SVG with a panel a situation: share right over mean confidence, and the diagonal."""
    gap = 50
    parts = []
    for number, ((scene, independent), answers) in enumerate(diagrams.items()):
        left = gap + number * (side + gap)
        title = f"{scene}, {'by itself' if independent else 'one to one'}"
        points = " ".join(
            f"{left + side * mean:.1f},{gap + side * (1 - share):.1f}"
            for mean, share, _ in bins(*answers)
        )
        parts += [
            f'<text x="{left}" y="{gap - 12}">{title}</text>',
            f'<rect x="{left}" y="{gap}" width="{side}" height="{side}" fill="none" '
            'stroke="#888"/>',
            f'<path d="M{left} {gap + side}L{left + side} {gap}" stroke="#888" '
            'stroke-dasharray="4"/>',
            f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="2"/>',
            f'<text x="{left}" y="{gap + side + 18}">0</text>',
            f'<text x="{left + side - 76}" y="{gap + side + 18}">confidence 1</text>',
        ]
    width = gap + len(diagrams) * (side + gap)
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {side + 2 * gap}" '
        'font-family="sans-serif" font-size="13" fill="#555">\n'
        "<title>Share of answers that are right, over their confidence</title>\n"
        + "\n".join(parts)
        + "\n</svg>\n",
        encoding="utf-8",
    )
