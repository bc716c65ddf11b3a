"""Photos embedded in a browser with the code of docs/mobile.md, beside `Embedder`.

Run it as `python benchmarks/browser.py --work DIR --model DIR PHOTO...`.

It exports the model to ONNX, fetches onnxruntime-web from npm into the work folder unless it is
there, serves both on 127.0.0.1 with a page that embeds the photos with exactly the JavaScript that
docs/mobile.md shows, and opens that in headless Chromium. The photos are decoded and made smaller
in the browser. Printed are the cosines of the vectors to those of `Embedder` of the same files.
With `--large` those files are JPEGs of 1 to 12 megapixels, drawn of the photos that are named.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from embedder import Embedder
from embedder.export import export_model

DOCS = Path(__file__).parents[1] / "docs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
SECONDS = 120
LARGE = ((1001, 777), (2048, 1536), (3264, 2448), (4000, 3000))

PAGE = """<!doctype html><script type="module">
const send = (body) => fetch("result", { method: "POST", body: JSON.stringify(body) });
try {
  const { openModel, embedPhoto } = await import("./mobile.js");
  const session = await openModel("items.onnx");
  const vectors = [];
  const started = performance.now();
  for (let at = 0; at < COUNT; at++) {
    const photo = await (await fetch(`photo/${at}`)).blob();
    vectors.push(Array.from(await embedPhoto(session, photo)));
  }
  await send({ vectors, milliseconds: performance.now() - started });
} catch (error) {
  await send({ error: `${error}` });
}
</script>"""
KINDS = {".html": "text/html", ".mjs": "text/javascript", ".js": "text/javascript"}
KINDS[".wasm"] = "application/wasm"


def shown_code() -> str:
    """The JavaScript of docs/mobile.md."""
    page = (DOCS / "mobile.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```javascript\n(.*?)^```", page, re.M | re.S))


def fetch_runtime(work: Path) -> Path:
    """The files of onnxruntime-web, by npm unless they are there."""
    folder = work / "package" / "dist"
    work.mkdir(parents=True, exist_ok=True)
    if not all((folder / name).is_file() for name in RUNTIME):
        pack = ["npm", "pack", "--silent", "onnxruntime-web"]
        done = subprocess.run(pack, cwd=work, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise OSError(f"npm pack onnxruntime-web: {done.stderr.strip()}")
        wanted = [f"package/dist/{name}" for name in RUNTIME]
        unpack = ["tar", "-xzf", done.stdout.split()[-1], *wanted, "package/package.json"]
        subprocess.run(unpack, cwd=work, check=True)
    return folder


def serve(files: dict[str, bytes], results: Queue[bytes]) -> ThreadingHTTPServer:
    """A server of these files on 127.0.0.1, that puts what it is sent into a queue."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            kind = KINDS.get(Path(self.path).suffix, "application/octet-stream")
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content or b"")

        def do_POST(self) -> None:
            results.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing of each request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def embed_in_browser(
    browser: str, runtime: Path, model: bytes, photos: list[bytes]
) -> tuple[npt.NDArray[np.float32], float]:
    """The vectors (photos, dim) of photo files, and milliseconds for all of them.

    Args:
        browser: the command of a Chromium.
        runtime: the folder with `RUNTIME`.
        model: what `embed export` wrote as ONNX.
        photos: contents of photo files.
    """
    files = {f"/{name}": (runtime / name).read_bytes() for name in RUNTIME}
    files |= {f"/photo/{at}": photo for at, photo in enumerate(photos)}
    files["/page.html"] = PAGE.replace("COUNT", str(len(photos))).encode()
    files["/mobile.js"], files["/items.onnx"] = shown_code().encode(), model
    results: Queue[bytes] = Queue()
    server = serve(files, results)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        address = f"http://127.0.0.1:{server.server_address[1]}/page.html"
        own = (
            f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        )
        process = subprocess.Popen(
            [browser, *QUIET, *own, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            said = json.loads(results.get(timeout=SECONDS))
        except Empty:
            raise OSError(f"{browser}: no vector after {SECONDS} s") from None
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
            server.server_close()
    if "error" in said:
        raise OSError(f"{browser}: {said['error']}")
    return np.array(said["vectors"], dtype=np.float32), said["milliseconds"]


def draw_large(paths: list[Path], size: tuple[int, int], seed: int) -> list[bytes]:
    """Eight JPEGs of a size, to be turned as their EXIF says in the four ways of phones.

    Four are mosaics of photos as they are, sharp to the pixel. Four are single photos enlarged,
    soft but for noise as a sensor adds it.
    """
    rng = np.random.default_rng(seed)

    def any_photo() -> Image.Image:
        with Image.open(paths[rng.integers(len(paths))]) as photo:
            return photo.convert("RGB")

    tile = min(any_photo().size)

    def mosaic() -> Image.Image:
        image = Image.new("RGB", size)
        for left in range(0, size[0], tile):
            for top in range(0, size[1], tile):
                image.paste(any_photo(), (left, top))
        return image

    def enlarged() -> Image.Image:
        image = np.asarray(ImageOps.fit(any_photo(), size))
        noisy = image + rng.normal(0, 6, (*image.shape[:2], 1))
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))

    return [_jpeg(draw(), way) for way in (1, 3, 6, 8) for draw in (mosaic, enlarged)]


def _jpeg(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = io.BytesIO()
    image.save(content, "JPEG", quality=90, exif=exif)
    return content.getvalue()


def main() -> None:
    """Export, serve, browse, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for onnxruntime-web")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--large", action="store_true", help="draw large photos of these")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("photos", type=Path, nargs="+")
    arguments = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"expected one of {', '.join(BROWSERS)}, found none: install one")
    runtime = fetch_runtime(arguments.work)
    model = export_model(arguments.model, "onnx", "float32").content
    sets = {"": [path.read_bytes() for path in arguments.photos]}
    if arguments.large:
        sets = {
            f" of {size[0]} x {size[1]}": draw_large(arguments.photos, size, arguments.seed)
            for size in LARGE
        }
    said = subprocess.run([browser, "--version"], capture_output=True, text=True).stdout.strip()
    package = json.loads((runtime.parent / "package.json").read_text(encoding="utf-8"))
    print(f"{said}, onnxruntime-web {package['version']}")
    embedder = Embedder.open(arguments.model)
    for of_which, contents in sets.items():
        vectors, milliseconds = embed_in_browser(browser, runtime, model, contents)
        cosines = (vectors * np.stack(list(embedder.embed(contents)))).sum(axis=1)
        took = milliseconds / len(vectors)
        print(f"{len(vectors)} photos{of_which}, {took:.0f} ms each, with decoding")
        print(f"cosine: mean {cosines.mean():.5f}, lowest {cosines.min():.5f}")


if __name__ == "__main__":
    main()
