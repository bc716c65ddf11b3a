"""`embed serve`: matching over HTTP, and the page of it."""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import index_option, model_option, say
from embedder.errors import MissingExtraError
from index.places import Place

if TYPE_CHECKING:
    from service.settings import Settings

_MB = 1_000_000


@click.command(short_help="Match photos over HTTP, and in a browser.")
@index_option
@model_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What requests must bear is in it; in EMBED_TOKEN unless given. Needed for any address "
    "that other machines reach.",
)
@click.option(
    "--write-token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What adding and removing items must bear; in EMBED_WRITE_TOKEN unless given. Without it "
    "nobody may.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Requests that are worked on or wait; more are told to try again.",
)
@click.option(
    "--max-photos",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="A request.",
)
@click.option(
    "--max-photo", type=click.IntRange(1, 500), default=20, show_default=True, help="MB of a photo."
)
@click.option(
    "--max-body",
    type=click.IntRange(1, 4000),
    default=64,
    show_default=True,
    help="MB of a request.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1, 100),
    default=50,
    show_default=True,
    help="Megapixels of a photo.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Processes that embed photos.  [default: all cores]",
)
def serve(
    index: Place,
    model: Path,
    host: str,
    port: int,
    token_file: Path | None,
    write_token_file: Path | None,
    queue: int,
    max_photos: int,
    max_photo: int,
    max_body: int,
    max_pixels: int,
    jobs: int | None,
) -> None:
    """Serve an index over HTTP, with a page to match photos in a browser.

    An index that is built again, or changed, is used from then on; no request fails meanwhile.
    Photos are held in memory while they are matched, and not kept. What can be asked is at
    /openapi.json.

    \b
    Examples:
      embed serve
      embed serve --index items.index --port 8080
      head -c 24 /dev/urandom | base64 > token
      embed serve --host 0.0.0.0 --token-file token
    """
    from embedder.parallel import default_jobs
    from service.settings import Settings, is_loopback

    settings = Settings(
        index=index,
        model=model,
        token=_token(token_file, "EMBED_TOKEN"),
        write_token=_token(write_token_file, "EMBED_WRITE_TOKEN"),
        photos=max_photos,
        photo_bytes=max_photo * _MB,
        body_bytes=max_body * _MB,
        pixels=max_pixels * _MB,
        queue=queue,
        jobs=jobs or default_jobs(),
    )
    local = is_loopback(host)
    if not local and settings.token is None:
        raise click.UsageError(
            f"expected a token for {host}, which other machines reach, found none: write one of 16 "
            "characters or more to a file, and name it with --token-file"
        )
    with _listening(host, port) as bound:
        server = _server(settings, local and settings.token is None)
        place, port = f"[{host}]" if ":" in host else host, bound.getsockname()[1]
        items = server.config.app.state.engine.generation.items
        say(f"{index}: {items:,} items at http://{place}:{port}  (stop with Ctrl+C)")
        with suppress(KeyboardInterrupt):  # it has ended by then
            server.run([bound])


def _server(settings: Settings, only_loopback: bool) -> Any:
    """A server of uvicorn's, with the index and the model open."""
    try:
        import uvicorn

        from service.app import create_app
        from service.protocol import Protocol
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("embedder", "index", "cli", "service"):
            raise
        raise MissingExtraError("'embed serve'", "serve") from None
    from embedder.quiet import native_output_silenced

    # For a refusal not to wait for threads that match: 5 ms unless said, at each of its steps.
    sys.setswitchinterval(0.001)
    # Processes that embed import nothing from the working folder, which may be a stranger's.
    os.environ["PYTHONSAFEPATH"] = "1"
    # Nor do they need more threads: they are as many as cores. Here NumPy was loaded before.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    with native_output_silenced():
        app = create_app(settings, only_loopback)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=1000,
        timeout_graceful_shutdown=30,
    )
    return uvicorn.Server(config)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:  # the latter of a host that is no name
        what = getattr(error, "strerror", None) or "no such host"
        raise click.ClickException(
            f"cannot listen at {host}, port {port}: {what}: name another with --host or --port"
        ) from None


def _token(file: Path | None, variable: str) -> str | None:
    from service.settings import weakness

    if file is not None:
        where, token = str(file), file.read_text(encoding="utf-8", errors="replace").strip()
    elif variable in os.environ:
        where, token = variable, os.environ[variable].strip()
    else:
        return None
    if wrong := weakness(token):
        raise click.ClickException(f"{where}: {wrong}")
    return token
