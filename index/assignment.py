"""One photo, one piece: the assignment with the highest total score."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

# Importing scipy.optimize costs as much as solving this many rows in plain Python.
_SMALL = 64


def best_assignment(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Give each row a column of its own so that the scores add up to the most.

    As many pairs as the shorter side has are made; the other rows get none.

    Args:
        scores: finite float (rows, columns).

    Returns:
        int64 (rows,), the column of each row, or -1.
    """
    rows, columns = scores.shape
    if rows == 0 or columns == 0:
        return np.full(rows, -1, dtype=np.int64)
    if rows > columns:
        chosen = np.full(rows, -1, dtype=np.int64)
        chosen[best_assignment(scores.T)] = np.arange(columns)
        return chosen
    if rows > _SMALL or columns > 4 * _SMALL:
        from scipy.optimize import linear_sum_assignment

        return np.asarray(linear_sum_assignment(scores, maximize=True)[1], dtype=np.int64)
    return np.array(_shortest_paths((-scores).tolist()), dtype=np.int64)


def _shortest_paths(costs: list[list[float]]) -> list[int]:
    """The cheapest assignment of all rows, of which there are no more than columns.

    Successive shortest augmenting paths with potentials (Kuhn-Munkres; Jonker and Volgenant 1987):
    each row in turn is given a column along the path of least reduced cost, O(rows^2 columns).
    """
    columns = len(costs[0])
    row_of = [-1] * columns
    row_potential, column_potential = [0.0] * len(costs), [0.0] * columns
    for start in range(len(costs)):
        distance, previous, order = _search(costs, start, row_of, row_potential, column_potential)
        free = order.pop()
        row_potential[start] += distance[free]
        for column in order:
            gained = distance[free] - distance[column]
            row_potential[row_of[column]] += gained
            column_potential[column] -= gained
        while free >= 0:  # every row on the path moves one column on
            before = previous[free]
            row_of[free] = start if before < 0 else row_of[before]
            free = before
    chosen = [-1] * len(costs)
    for column, row in enumerate(row_of):
        if row >= 0:
            chosen[row] = column
    return chosen


def _search(
    costs: list[list[float]],
    start: int,
    row_of: list[int],
    row_potential: list[float],
    column_potential: list[float],
) -> tuple[list[float], list[int], list[int]]:
    """Dijkstra from a row to the nearest free column, over reduced costs.

    Returns the distance of each column, the column before it on its path (-1 at the start), and
    the columns in the order they were reached, of which the last is the free one.
    """
    columns = len(row_of)
    distance, previous, order = [math.inf] * columns, [-1] * columns, list[int]()
    waiting = set(range(columns))
    row, last, reached = start, -1, 0.0
    while True:
        base, row_costs = reached - row_potential[row], costs[row]
        for column in waiting:
            path = base + row_costs[column] - column_potential[column]
            if path < distance[column]:
                distance[column], previous[column] = path, last
        last = min(waiting, key=distance.__getitem__)
        waiting.remove(last)
        order.append(last)
        if row_of[last] < 0:
            return distance, previous, order
        row, reached = row_of[last], distance[last]
