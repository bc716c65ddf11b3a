"""Write the reference of the command line from the commands themselves.

python docs/cli_reference.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from cli.main import main as embed

PAGE = Path(__file__).parent / "reference" / "cli.md"

_HEAD = """\
# Command line

Written from the commands by `make reference`; `embed COMMAND --help` says the same.

Results go to standard output, everything else to standard error. Exit statuses and what scripts
need: [scripts and CI](../howto/scripts.md). What the commands print:
[in a terminal](../walkthrough.md).
"""


def reference() -> str:
    """The page, in Markdown."""
    context = embed.make_context("embed", [], resilient_parsing=True)
    parts = [_HEAD, *_options(embed, context)]
    for name in embed.list_commands(context):
        command = embed.get_command(context, name)
        assert command is not None
        inner = command.make_context(name, [], context, resilient_parsing=True)
        parts += _command(command, inner)
    return "\n".join(parts)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## embed {command.name}\n"
    yield f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n"
    for paragraph in re.split(r"\n\s*\n", cleandoc(command.help or "")):
        text = paragraph.strip("\n")
        if "\b" not in text:
            yield " ".join(text.split()) + "\n"
            continue
        lines = text.partition("\b\n")[2].split("\n")
        if lines[0].endswith(":"):
            yield f"{lines.pop(0)}\n"
        yield "\n".join(f"    {line.strip()}" for line in lines) + "\n"
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = (given for given in command.get_params(context) if isinstance(given, click.Option))
    records = (option.get_help_record(context) for option in options)
    yield "\n".join(f"* `{names}`: {text}" for names, text in filter(None, records)) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
