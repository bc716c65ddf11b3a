"""`embed evaluate`: how well an index tells items whose photos are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import (
    index_option,
    jobs_option,
    json_option,
    list_unreadable,
    model_option,
    print_json,
    say,
    table,
)
from cli.progress import photo_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embedder import Catalogue
    from index import Evaluation
    from index.evaluating import ItemFigures
    from index.measures import Figure
    from index.places import Place

_MOST_SHOWN = 5
_CALIBRATED = {
    "given": "Confidences are those that 'embed calibrate' fitted: if it was to these photos, they "
    "seem better than they are",
    "not": "The index is not calibrated: it calls nothing unknown; see 'embed calibrate'",
}


@click.command(short_help="Measure how well an index tells items apart.")
@click.argument("catalogue", type=click.Path(path_type=Path))
@index_option
@model_option
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write an HTML page too, with plots, all items, and pictures of what is confused.",
)
@click.option(
    "--learning-curve",
    is_flag=True,
    help="Train as the model was, with fewer photos and with other numbers of epochs, to tell what "
    "more of them would gain: hours.",
)
@click.option(
    "--weights",
    metavar="FILE.h5",
    help="What the backbone of the model started from, for --learning-curve.",
)
@json_option
@jobs_option
def evaluate(
    catalogue: Path,
    index: Place,
    model: Path,
    report: Path | None,
    learning_curve: bool,
    weights: str | None,
    as_json: bool,
    jobs: int | None,
) -> None:
    """Measure how well photos of CATALOGUE are told apart.

    CATALOGUE is a folder with a folder an item, or a CSV or Parquet file; best of photos that the
    index was not built from, taken as later ones will be. Of the catalogue of the index itself, the
    photos are asked that training held out, as if the index did not have them.

    recall@k is the share of photos whose item is among the k nearest of all items; mAP@R tells how
    well the photos find others of their item. Then, for sets of candidates of several sizes drawn
    at random: the share that is right, each photo by itself and all one to one, and how far
    confidences can be trusted. Behind each figure is its interval of 95 %, by bootstrap over items.

    \b
    Examples:
      embed evaluate new-photos
      embed evaluate catalogue --report evaluation.html
      embed evaluate new-photos --json > evaluation.json
      embed evaluate catalogue --learning-curve --report curve.html
    """
    from embedder import read_catalogue
    from embedder.quiet import native_output_silenced
    from index import Matcher
    from index import evaluate as measured

    if report is not None:
        from cli.evaluation_page import write_evaluation
        from cli.page_file import refuse_place

        refuse_place(report)
    photos = read_catalogue(catalogue)
    if learning_curve:
        from cli.learning_curve import show_learning_curve

        show_learning_curve(photos, model, weights, report, as_json, jobs)
        return
    with Matcher.open(index, model) as matcher:
        embedder = matcher.embedder
        with native_output_silenced():
            embedder.warm_up()
        with (
            photo_progress("Embedding") as embedded,
            photo_progress("Asking", "sizes", patience=0.01) as asked,
        ):
            found = measured(
                photos,
                embedder,
                matcher.store,
                jobs=jobs,
                on_embedded=embedded,
                on_asked=asked,
            )
        list_unreadable(found.unreadable, "are left out")
        say(what_was_asked(found))
        if found.calibrated != "held out":
            say(_CALIBRATED[found.calibrated])
        try:
            if as_json:
                print_json(found)
            else:
                click.echo(_as_tables(found, photos))
        finally:  # also where the reader of the results has gone, as with `| head`
            if report is not None:
                write_evaluation(report, found, photos, matcher.store, jobs)
                say(f"{report}: the report, to be opened in a browser")


def what_was_asked(found: Evaluation) -> str:
    """Which photos the figures are of, in a sentence."""
    kinds = found.kinds
    flatters = ": new ones will be matched worse" if kinds.flattered else " left out"
    parts = [
        (kinds.new, "new"),
        (kinds.held_out, "that training did not see"),
        (kinds.trained, f"that training saw{flatters}"),
        (kinds.other_items, "of items that the index does not have left out"),
        (kinds.by_hand, "of items that were added by hand left out"),
    ]
    said = "; ".join(f"{count:,} {what}" for count, what in parts if count)
    return f"{kinds.asked:,} photos of {found.items:,} items asked ({said})"


def _as_tables(found: Evaluation, photos: Catalogue) -> str:
    among = f"among {found.index_items:,} items"
    rows = [["", "", "95 % interval"]]
    for name, figure in whole_figures(found):
        rows.append([name, percent(figure.value), interval(figure, 100, 1)])
    parts = [f"All photos {among}", table(rows, frozenset({1}))]
    if found.sets:
        parts += ["", "Share right among so many candidates", _accuracies(found)]
        parts += ["", "Confidences, one to one", _confidences(found)]
    worst = [item for item in found.by_item if item.candidate_accuracy < 1][:_MOST_SHOWN]
    if worst:
        parts += ["", "Items with the most errors", _items(worst)]
    if found.confusions:
        parts += ["", "Most confused pairs", _pairs(found, photos)]
    return "\n".join(parts)


def whole_figures(found: Evaluation) -> list[tuple[str, Figure]]:
    """The figures of all items at once, and what they are called."""
    recalls = [(f"recall@{k}", figure) for k, figure in found.recall.items()]
    return [*recalls, ("mAP@R", found.mean_average_precision)]


def percent(value: float) -> str:
    """A share in per cent; a dash where it was not measured."""
    return f"{100 * value:.1f} %" if value == value else "-"


def interval(figure: Figure, times: float, digits: int) -> str:
    """From where to where; nothing where there was nothing to measure."""
    if figure.low != figure.low:
        return ""
    return f"{times * figure.low:.{digits}f}-{times * figure.high:.{digits}f}"


def with_interval(figure: Figure, times: float, digits: int) -> str:
    """A figure and its interval in one cell of a table."""
    if figure.value != figure.value:
        return "-"
    return f"{times * figure.value:.{digits}f} ({interval(figure, times, digits)})"


def _accuracies(found: Evaluation) -> str:
    rows = [["candidates", "each by itself, %", "one to one, %"]]
    for of in found.sets:
        figures = (of.independent, of.one_to_one)
        rows.append([str(of.candidates), *(with_interval(figure, 100, 1) for figure in figures)])
    return table(rows, frozenset({0}))


def _confidences(found: Evaluation) -> str:
    rows = [["among", "ECE", "unknown AUROC", "matched, %", "wrong, %"]]  # 80 columns
    for of in found.sets:
        rows.append(
            [
                str(of.candidates),
                with_interval(of.calibration_error, 1, 3),
                with_interval(of.unknown_auroc, 1, 3),
                with_interval(of.matched, 100, 0),
                with_interval(of.wrong, 100, 1),
            ]
        )
    return table(rows, frozenset({0}))


def _items(worst: Sequence[ItemFigures]) -> str:
    rows = [["item", "photos", "right of 10", "of all", "taken for"]]
    for item in worst:
        right = percent(item.candidate_accuracy), percent(item.recall_at_1)
        rows.append([item.item_id, str(item.photos), *right, item.taken_for or "-"])
    return table(rows, frozenset({1, 2, 3}))


def _pairs(found: Evaluation, photos: Catalogue) -> str:
    rows = [["item", "taken for", "photos", "the worst"]]
    shown = found.confusions[:_MOST_SHOWN]
    for pair, worst in zip(shown, photos.within([pair.photo for pair in shown]), strict=True):
        rows.append([pair.item_id, pair.taken_for, f"{pair.photos} of {pair.asked}", worst])
    return table(rows)
