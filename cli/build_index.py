"""`embed build-index`: a catalogue and a model to an index file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cli.output import (
    index_option,
    jobs_option,
    json_option,
    list_unreadable,
    listed,
    model_option,
    print_json,
    say,
)
from cli.progress import photo_progress
from index.places import Place

if TYPE_CHECKING:
    from index import BuildReport

_FOR_PHOTOS = {"catalogue", "model", "embedder", "skip_empty", "repair", "jobs"}
_FOR_PHOTOS |= {"scheduler", "embeddings"}


@click.command(name="build-index", short_help="Embed a catalogue's photos into an index file.")
@click.argument("catalogue", type=click.Path(path_type=Path), required=False)
@click.option(
    "--vectors",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Build it from vectors that were made elsewhere, and no CATALOGUE: .npz (arrays ids and "
    "vectors), .parquet (columns id and vector), or .faiss with the ids in FILE.ids.txt.",
)
@model_option
@index_option
@click.option("--skip-empty", is_flag=True, help="Leave out items without a readable photo.")
@click.option(
    "--repair",
    is_flag=True,
    help="Take over only what is whole of a damaged index, and make the rest anew.",
)
@click.option(
    "--dask",
    "scheduler",
    metavar="ADDRESS",
    help="Let the workers of a Dask cluster embed: the address of its scheduler, as "
    "tcp://10.0.0.1:8786, or 'local' for workers on this machine. CATALOGUE may be larger than "
    "memory, and has to be under the same path on all machines.",
)
@click.option(
    "--embeddings",
    metavar="DIR",
    help="With --dask: keep the embeddings as Parquet files in a folder of their own, a path or an "
    "address that fsspec knows.",
)
@json_option
@jobs_option
@click.pass_context
def build_index(
    context: click.Context,
    catalogue: Path | None,
    vectors: Path | None,
    model: Path,
    index: Place,
    skip_empty: bool,
    repair: bool,
    scheduler: str | None,
    embeddings: str | None,
    as_json: bool,
    jobs: int | None,
) -> None:
    """Embed the photos of CATALOGUE and write an index file with a centroid an item.

    An index that is there is brought up to date: only photos that are new or changed are embedded.
    It is replaced in one step at the end. An interrupted build goes on where it was. What each
    photo gave is kept beside it in items.index.photos, which nothing but the next build needs.

    \b
    Examples:
      embed build-index catalogue
      embed build-index catalogue --model parts.model --index parts.index
      embed build-index catalogue --repair
      embed build-index catalogue --embedder network.onnx
      embed build-index --vectors vectors.npz
      embed build-index manifest.csv --dask tcp://10.0.0.1:8786
    """
    if vectors is not None:
        _refuse_options_of_photos(context)
        _from_vectors(vectors, index, as_json)
    elif catalogue is not None:
        options = {"skip_empty": skip_empty, "repair": repair, "jobs": jobs}
        if scheduler is not None:
            report = _embedded_by_dask(catalogue, model, index, scheduler, embeddings, options)
        elif embeddings is not None:
            raise click.UsageError("expected --embeddings with --dask, found it alone")
        else:
            report = _embedded_here(catalogue, model, index, options)
        _tell(report, index)
        _prepare(index)
        if as_json:
            print_json(report)
    else:
        raise click.UsageError("expected CATALOGUE or --vectors FILE, found neither")


def _refuse_options_of_photos(context: click.Context) -> None:
    """Vectors are taken as they are: nothing is embedded, left out, or taken over."""
    for option in context.command.params:
        if option.name not in _FOR_PHOTOS:
            continue
        if context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            name = "CATALOGUE" if isinstance(option, click.Argument) else option.opts[0]
            raise click.UsageError(f"expected --vectors or {name}, found both")


def _from_vectors(vectors: Path, index: Place, as_json: bool) -> None:
    from index import build_from_vectors, read_vectors

    _refuse_index_of_photos(index)
    found = read_vectors(vectors)
    try:
        report = build_from_vectors(*found, index)
    except MemoryError:
        raise click.ClickException(
            f"{vectors}: expected vectors that memory can hold, found more: build parts of it"
        ) from None
    if not report.calibrated:
        say(
            "There are too few vectors to fit confidences to: expected 20 or more of items that "
            "have four"
        )
    say(f"{index}: {report.items:,} items, {report.photos:,} vectors")
    _prepare(index)
    if as_json:
        print_json(report)


def _refuse_index_of_photos(index: Place) -> None:
    """It could not be made again from the vectors, nor could items that were added to it."""
    from index.schema import ELSEWHERE, NoIndexError
    from index.stores import open_store

    if isinstance(index, Path) and not index.is_file():
        return
    try:
        opened = open_store(index)
    except NoIndexError:
        return
    with opened as store:
        if store.info.fingerprint != ELSEWHERE:
            raise click.ClickException(
                f"{index}: expected no index there, or one of vectors, found one of photos: name "
                "another with --index, or delete it"
            )


def _embedded_here(
    catalogue: Path, model: Path, index: Place, options: dict[str, Any]
) -> BuildReport:
    from index.catalogue_scanning import begun_scan

    with begun_scan(catalogue, options["jobs"]) as finish:
        # What takes long to import, while other processes read.
        from embedder import Embedder
        from embedder.quiet import native_output_silenced
        from index import build_index as build

        embedder = Embedder.open(model)
        found = finish()
    with native_output_silenced():  # of this process, so not while it talks to others
        embedder.warm_up()
    with photo_progress("Embedding") as show:
        return build(found, embedder, index, on_progress=show, **options)


def _embedded_by_dask(
    catalogue: Path,
    model: Path,
    index: Place,
    scheduler: str,
    embeddings: str | None,
    options: dict[str, Any],
) -> BuildReport:
    from index.chunks import LOCAL
    from index.dask_building import build_index_on_dask

    if not isinstance(index, Path):
        raise click.UsageError(f"expected an index file with --dask, found {index}")
    if options["jobs"] is not None and scheduler != LOCAL:
        raise click.UsageError(
            "expected --jobs or --dask ADDRESS, found both: workers have as many threads as they "
            "were started with"
        )
    with photo_progress("Embedding") as show:
        return build_index_on_dask(
            catalogue,
            model,
            index,
            scheduler=scheduler,
            embeddings=embeddings,
            on_progress=show,
            **options,
        )


def _tell(report: BuildReport, index: Place) -> None:
    list_unreadable(report.unreadable, "are left out")
    if report.empty:
        say(
            f"{len(report.empty)} item(s) without a readable photo left out: {listed(report.empty)}"
        )
    if report.removed:
        say(
            f"{len(report.removed)} item(s) removed that the catalogue does not have: "
            f"{listed(report.removed)}"
        )
    if report.lost:
        say(
            f"{len(report.lost)} item(s) of the old index could not be taken over, and the "
            f"catalogue does not have them: {listed(report.lost)}: add them with 'embed add'"
        )
    if report.uncalibrated:
        say("Confidences are fitted anew: if they were by 'embed calibrate', run that again")
    photos = f"{report.photos:,} photos ({report.embedded:,} embedded now)"
    say(f"{index}: {report.items:,} items, {photos}")


def _prepare(index: Place) -> None:
    """Make the files beside a large index, which is in place already and can be matched with."""
    from cli.optimize import describe, make_rows
    from embedder.errors import IndexFileError
    from index.beside import CannotMakeError
    from index.optimizing import optimize
    from index.row_file_making import is_outdated

    try:
        with photo_progress("Preparing the search", unit="items", patience=1.0) as show:
            report = optimize(index, on_progress=show)
    except CannotMakeError as error:
        say(f"no search file was made, all rows are read at a search instead: {error}")
    else:
        if report.kind != "none":
            describe(report, index)
    try:
        if is_outdated(index):
            make_rows(index)
    except IndexFileError as error:
        say(f"no row file was made, candidates are read from the index instead: {error}")
