"""The `embed` command: its subcommands, and the one place where errors become messages."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from cli.output import shown
from embedder.errors import EmbedError
from embedder.version import __version__

_COMMANDS = (
    "sample",
    "train",
    "build-index",
    "match",
    "search",
    "add",
    "remove",
    "audit",
    "evaluate",
    "calibrate",
    "optimize",
    "verify",
    "export",
    "serve",
)
_ELSEWHERE = {"serve": "service.command"}


@contextmanager
def _shown() -> Iterator[None]:
    """Ids and names of files in an error are shown, not obeyed by the terminal."""
    try:
        yield
    except click.ClickException as error:
        # Click's own classes put what it says around their message when it is shown.
        vars(error)["message"] = shown(error.message)
        raise


class _Group(click.Group):
    """Imports a command when it is asked for, and shows errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = _ELSEWHERE.get(cmd_name, f"cli.{name}")
        command: click.Command = getattr(import_module(module), name)
        return command

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _shown():
            return super().make_context(*args, **extra)

    @_shown()
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EmbedError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            # The reader of our output has gone, as with `| head`: nothing is left to say.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "\nStopped. Training and building an index go on where they were when run again.",
                err=True,
            )
            raise click.exceptions.Exit(130) from None
        except OSError as error:
            from embedder.advice import with_advice

            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{with_advice(error)}") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="embed")
def main() -> None:
    """Which item is in the photo?

    Learn to tell the items of a catalogue apart, then match photos to a list of items that can be
    in them.

    \b
    A first try on generated photos:
      embed sample demo
      embed train demo/catalogue
      embed build-index demo/catalogue
      embed match --candidates demo/ids.txt demo/photos
    """
    # Redirected output is UTF-8 whatever the system's habit; what a terminal cannot show is '?'.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")
    # Large photos are refused with a reason of our own; Pillow's warning would only add noise.
    warnings.filterwarnings("ignore", module=r"PIL\.")
