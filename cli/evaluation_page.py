"""The HTML page of `embed evaluate`: plots, tables, and pictures of what is confused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.charts import Axis, Line, line_chart, ticks_from
from cli.evaluate import interval, percent, what_was_asked, whole_figures, with_interval
from cli.page import END, figure, head, made, name, photo, picture, section, table_of
from cli.page_file import write_page
from cli.progress import counter, photo_progress
from cli.report_pictures import Drawn, reference_pictures, side_of, thumbnails
from embedder.catalogue import Catalogue
from embedder.errors import PhotoError
from index import Evaluation
from index.confidences import SHOWN_BY, SetFigures
from index.stores import AnyStore


def write_evaluation(
    path: Path, found: Evaluation, catalogue: Catalogue, store: AnyStore, jobs: int | None
) -> None:
    """Write the page; there is all of it in the end, or what was there before.

    Args:
        path: where to.
        found: what it is about.
        catalogue: of the photos that were asked.
        store: the index that was measured.
        jobs: threads; all cores unless given.

    Raises:
        OSError: it cannot be written.
    """
    pairs = found.confusions
    ids = list(dict.fromkeys(one for pair in pairs for one in (pair.item_id, pair.taken_for)))
    total = len(ids) + len(pairs)
    side = side_of(total)
    with photo_progress("Drawing", "pictures") as show:
        done = counter(total, show)
        references = reference_pictures(store, ids, side, jobs, done)
        photos = thumbnails([pair.photo for pair in pairs], side, jobs, done)
        facts = [
            made(),
            ("Photos", str(catalogue.source)),
            ("Asked", what_was_asked(found)),
            ("Index", f"{store.path}, of {store.info.created}, {found.index_items:,} items"),
            ("Model", store.info.fingerprint[:12]),
        ]
        write_page(path, _page(found, facts, references, photos))


def _page(
    found: Evaluation,
    facts: Sequence[tuple[str, str]],
    references: dict[str, Drawn],
    photos: dict[str, Drawn],
) -> Iterator[str]:
    yield head("evaluate", _headline(found), "figures", facts, _notes(found))
    yield '<main id="figures">\n'
    rows = [[title, percent(of.value), interval(of, 100, 1)] for title, of in whole_figures(found)]
    yield section("All items at once", table_of(["", "Figure", "95 % interval, %"], rows))
    if found.sets:
        yield section("Among some candidates", _accuracy_chart(found.sets) + _set_table(found.sets))
        yield section("How far confidences can be trusted", _reliability(found))
    if found.confusions:
        cards = "".join(
            f'<li class="card"><h3>{name(pair.item_id)} taken for {name(pair.taken_for)}</h3>'
            f'<p class="numbers">{pair.photos} of {pair.asked} photos</p><div class="pictures">'
            f"{figure(photo(pair.photo, photos[pair.photo]), name(pair.photo))}"
            f"{_reference(pair.item_id, references)}{_reference(pair.taken_for, references)}"
            "</div></li>\n"
            for pair in found.confusions
        )
        yield section(
            "Most confused pairs", f'<ul class="cards" role="list">\n{cards}</ul>\n', "unsure"
        )
    rows = [
        [
            name(item.item_id),
            str(item.photos),
            percent(item.candidate_accuracy),
            percent(item.recall_at_1),
            name(item.taken_for) if item.taken_for else "",
        ]
        for item in found.by_item
    ]
    columns = ["Item", "Photos", "Right of 10", "Right of all", "Most taken for"]
    yield section("All items, the worst first", table_of(columns, rows))
    yield f"</main>\n{END}"


def _headline(found: Evaluation) -> str:
    by_size = {of.candidates: of for of in found.sets}
    if SHOWN_BY not in by_size:
        return f"{percent(found.recall[1].value)} right among {found.index_items:,} items"
    right = percent(by_size[SHOWN_BY].one_to_one.value)
    return f"{right} right among {SHOWN_BY} candidates, one to one"


def _notes(found: Evaluation) -> list[str]:
    notes = []
    if found.kinds.flattered:
        notes.append(
            "All of these photos were trained on: new ones will be matched worse. "
            "Measure with photos that the index was not built from."
        )
    if found.unreadable:
        notes.append(f"{len(found.unreadable):,} photos could not be read and are left out.")
    return notes


def _accuracy_chart(sets: Sequence[SetFigures]) -> str:
    ways = [
        ("one to one", [of.one_to_one for of in sets]),
        ("each by itself", [of.independent for of in sets]),
    ]
    lines = [
        Line(
            called,
            [(of.candidates, 100 * one.value) for of, one in zip(sets, figures, strict=True)],
            [(100 * one.low, 100 * one.high) for one in figures],
        )
        for called, figures in ways
    ]
    lowest = min(low for line in lines for low, _ in line.band)
    x = Axis("candidates", [of.candidates for of in sets], logarithmic=True)
    return line_chart(
        "Photos that are right, with intervals of 95 %",
        lines,
        x if len(sets) > 1 else Axis("candidates", [sets[0].candidates, sets[0].candidates + 1]),
        Axis("right, %", ticks_from(lowest, 100.0)),
    )


def _set_table(sets: Sequence[SetFigures]) -> str:
    columns = ["Candidates", "Each by itself, %", "One to one, %", "ECE", "Unknown AUROC"]
    columns += ["Rightly matched, %", "Wrong of matched, %"]
    rows = [
        [
            f"{of.candidates}",
            with_interval(of.independent, 100, 1),
            with_interval(of.one_to_one, 100, 1),
            with_interval(of.calibration_error, 1, 3),
            with_interval(of.unknown_auroc, 1, 3),
            with_interval(of.matched, 100, 1),
            with_interval(of.wrong, 100, 1),
        ]
        for of in sets
    ]
    return table_of(columns, rows)


def _reliability(found: Evaluation) -> str:
    if not found.reliability:
        return f"<p>There are fewer than {SHOWN_BY} items.</p>\n"
    points = [(mean, right) for mean, right, _ in found.reliability]
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    chart = line_chart(
        f"Share of answers that are right, over their confidence: sets of {SHOWN_BY} candidates",
        [Line("measured; on the dashed line confidences are right", points)],
        Axis("confidence", ticks, ".1f"),
        Axis("share right", ticks, ".1f"),
        diagonal=True,
    )
    rows = [
        [f"{mean:.3f}", f"{right:.3f}", f"{count:,}"] for mean, right, count in found.reliability
    ]
    return chart + table_of(["Confidence", "Right", "Answers"], rows)


def _reference(item_id: str, references: dict[str, Drawn]) -> str:
    found = references[item_id]
    of = "" if isinstance(found, PhotoError) else "Reference of "
    drawn = picture(f"Reference photo of {item_id}", found, "no picture")
    return figure(drawn, f"{of}{name(item_id)}")
