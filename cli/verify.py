"""`embed verify`: is everything as it was written?"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from cli.output import index_option, json_option, model_option, print_json, shown
from cli.progress import photo_progress

if TYPE_CHECKING:
    from index import Verified
    from index.places import Place


@click.command(short_help="Say whether index and model are whole.")
@index_option
@model_option
@json_option
def verify(index: Place, model: Path, as_json: bool) -> None:
    """Look at all of an index, what is kept beside it, and its model; say what is damaged.

    Exit with 1 if anything is, also where that costs the next build some time and nothing else.
    Every row and every file has a checksum. The model runs once, in another process, after its
    checksums were found to be right: do this first with a model from elsewhere. Nothing is changed.

    \b
    Examples:
      embed verify
      embed verify --index parts.index --model parts.model && echo whole
    """
    from embedder.verifying import model_problems
    from index import verify_index
    from index.schema import ELSEWHERE

    with photo_progress("Verifying", unit="items") as show:
        found = verify_index(index, on_progress=show)
    elsewhere = found.info is not None and found.info.fingerprint == ELSEWHERE
    of_model = [] if elsewhere else model_problems(model) or _other_model(found, model)
    if as_json:
        print_json({"index": found, "model_problems": of_model})
    else:
        _print(found, of_model, index, None if elsewhere else model)
    if found.problems and elsewhere:
        raise click.ClickException(f"{index} is damaged: build it from its vectors again")
    if found.problems:
        catalogue = quote(found.info.catalogue) if found.info else "CATALOGUE"
        options = f"--index {quote(str(index))} --model {quote(str(model))}"
        raise click.ClickException(
            f"{index} is damaged: make anew what is, and only that, with "
            f"'embed build-index {catalogue} --repair {options}'"
        )
    if of_model:
        raise click.ClickException(
            f"{model} cannot be used: restore it, or train and build the index again"
        )
    if found.kept_problems:
        raise click.ClickException(f"what is kept of the photos of {index} is damaged: no loss")


def _print(found: Verified, of_model: list[str], index: Place, model: Path | None) -> None:
    for problem in (*found.problems, *found.kept_problems, *of_model):
        click.echo(shown(problem))
    if not found.problems:
        click.echo(shown(f"{index}: whole, {found.items:,} items"))
    if model is None:
        click.echo(shown(f"{index}: built from vectors: it has no model to look at"))
    elif not of_model:
        click.echo(shown(f"{model}: whole, and runs"))


def _other_model(found: Verified, model: Path) -> list[str]:
    from embedder.verifying import fingerprint_of

    if found.info is None or found.info.fingerprint == fingerprint_of(model):
        return []
    return [f"{model}: not the model that the index was built with"]
