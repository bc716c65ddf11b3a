"""Charts as SVG in a page: lines with bands around them, and what they say in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cli.page import text

_WIDTH, _HEIGHT = 560, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 46
_MARKS = ("circle", "square", "diamond", "triangle", "cross")


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
        called: what the legend says.
        points: x and y.
        band: the lowest and highest y at each point; none if empty.
    """

    called: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()


class Axis(NamedTuple):
    """An axis of a chart.

    Attributes:
        called: what stands beside it.
        ticks: where numbers stand, from its beginning to its end.
        form: how a number is written.
        logarithmic: whether equal factors are equally far apart.
    """

    called: str
    ticks: Sequence[float]
    form: str = "g"
    logarithmic: bool = False

    def place(self, start: float, end: float) -> Callable[[float], float]:
        """Where a value is between two places of the page."""
        scale: Callable[[float], float] = math.log if self.logarithmic else float
        low, high = scale(self.ticks[0]), scale(self.ticks[-1])
        return lambda value: start + (scale(value) - low) / (high - low) * (end - start)


def ticks_from(lowest: float, highest: float = 1.0) -> list[float]:
    """Round numbers from below the lowest value up to the highest, five to ten of them."""
    span = max(highest - lowest, 1e-3)
    step = 10.0 ** math.floor(math.log10(span))
    step = next(step * part for part in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (step * part) <= 8)
    count = math.ceil(round((highest - lowest) / step, 9))
    return [round(highest - step * at, 9) for at in range(max(1, count), -1, -1)]


def line_chart(title: str, lines: Sequence[Line], x: Axis, y: Axis, diagonal: bool = False) -> str:
    """A chart with a legend. Lines differ by their marks and dashes, not by colour alone.

    Args:
        title: what it shows, for who does not see it, too.
        lines: five at most.
        x: the axis below.
        y: the axis on the left.
        diagonal: draw where both are equal, too.
    """
    across = x.place(_LEFT, _WIDTH - _RIGHT)
    up = y.place(_HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(x, y, across, up)]
    if diagonal:
        ends = f'x1="{across(x.ticks[0]):.1f}" y1="{up(y.ticks[0]):.1f}"'
        parts.append(
            f'<line class="grid" stroke-dasharray="5 4" {ends} '
            f'x2="{across(x.ticks[-1]):.1f}" y2="{up(y.ticks[-1]):.1f}"/>'
        )
    for number, line in enumerate(lines):
        places = [(across(at), up(value)) for at, value in line.points]
        if line.band:
            edges = [
                [
                    (place[0], up(values[side]))
                    for place, values in zip(places, line.band, strict=True)
                ]
                for side in (0, 1)
            ]
            around = _points(edges[0] + edges[1][::-1])
            parts.append(f'<polygon class="band line{number}" points="{around}"/>')
        parts.append(f'<polyline class="line line{number}" points="{_points(places)}"/>')
        parts += [_mark(number, *place) for place in places]
    legend = "".join(
        f'<li><svg width="34" height="14" aria-hidden="true"><line class="line line{number}" '
        f'x1="1" x2="33" y1="7" y2="7"/>{_mark(number, 17, 7)}</svg> {text(line.called)}</li>'
        for number, line in enumerate(lines)
    )
    return (
        f'<figure class="chart"><figcaption>{text(title)}</figcaption>\n'
        f'<svg role="img" aria-label="{text(_in_words(title, lines, x, y))}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}">\n{chr(10).join(parts)}\n</svg>\n'
        f'<ul class="legend" role="list">{legend}</ul></figure>\n'
    )


def _axes(
    x: Axis, y: Axis, across: Callable[[float], float], up: Callable[[float], float]
) -> list[str]:
    parts = []
    for value in y.ticks:
        at = up(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:{y.form}}</text>'
        )
    for value in x.ticks:
        parts.append(
            f'<text x="{across(value):.1f}" y="{_HEIGHT - _BOTTOM + 19}" '
            f'text-anchor="middle">{value:{x.form}}</text>'
        )
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">{text(x.called)}</text>'
        f'<text transform="translate(13 {middle}) rotate(-90)" '
        f'text-anchor="middle">{text(y.called)}</text>'
    )
    return parts


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{left:.1f},{top:.1f}" for left, top in places)


def _mark(number: int, left: float, top: float) -> str:
    kind, size = _MARKS[number % len(_MARKS)], 4.0
    shapes = {
        "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
        "square": "M-3.5 -3.5h7v7h-7z",
        "diamond": f"M0 -{size + 1}L{size + 1} 0L0 {size + 1}L-{size + 1} 0z",
        "triangle": "M0 -5L4.5 3.5H-4.5z",
        "cross": "M-4 -4L4 4M4 -4L-4 4",
    }
    at = f"translate({left:.1f} {top:.1f})"
    return f'<path class="mark line{number}" d="{shapes[kind]}" transform="{at}"/>'


def _in_words(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    said = [f"{title}. {y.called} over {x.called}."]
    for line in lines:
        values = (f"{at:{x.form}}: {value:{y.form}}" for at, value in line.points)
        said.append(f"{line.called}: {', '.join(values)}.")
    return " ".join(said)
