"""10,000 odd ids: each comes back as it went in, by every way there is, or is refused clearly."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from odd_ids import PLAIN, REFUSED, odd_ids

from cli.match import _FORMATTERS
from embedder import CandidateError, CatalogueError, read_catalogue
from index import Matcher, add_item, build_index, candidate_line, read_candidates, remove_items
from index.store import Store

PHOTOS = 40  # different ones; each is of many items


@pytest.fixture(scope="module")
def ids(rounds):
    found = odd_ids(rounds(10_000, 60_000))
    assert len(set(found)) == len(found)
    assert set(map(len, found)) >= {1, 4096}
    assert any(unicodedata.normalize("NFD", item) != item for item in found)
    return found


def write_manifest(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("item_id", "path"), *rows])
    return path


@pytest.fixture(scope="module")
def photos(sample):
    return sorted((sample / "catalogue").glob("*/*.jpg"))[:PHOTOS]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory, ids, photos):
    """Every other id in the decomposed form, as some systems give names."""
    rows = []
    for number, item in enumerate(ids):
        given = unicodedata.normalize("NFD", item) if number % 2 else item
        rows.append((given, photos[number % PHOTOS]))
    return write_manifest(tmp_path_factory.mktemp("ids") / "items.csv", rows)


@pytest.fixture(scope="module")
def index(manifest, random_embedder, random_model):
    shutil.copytree(random_model, manifest.with_name("items.model"))
    path = manifest.with_name("items.index")
    report = build_index(read_catalogue(manifest), random_embedder, path)
    assert report.unreadable == report.empty == report.removed == ()
    return path


@pytest.fixture
def store(index):
    with Store.open(index) as store:
        yield store


def test_a_catalogue_and_an_index_have_exactly_the_ids(ids, manifest, store, photos):
    found = read_catalogue(manifest)
    assert list(found.items) == sorted(ids)
    assert list(store.ids()) == sorted(ids)
    assert all(map(store.has, ids))
    for number, item in enumerate(ids):
        assert found.items[item] == (str(photos[number % PHOTOS]),)
    rows = store.statistics(ids)
    assert list(rows) == ids
    assert [row.item_id for row in rows.values()] == ids


def test_lists_that_we_write_name_exactly_the_ids(ids, store, tmp_path):
    wanted = {item: 1 + number % 3 * 7 for number, item in enumerate(ids)}
    text = "".join(f"{candidate_line(item, count)}\n" for item, count in wanted.items())
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", end).encode())
        assert read_candidates(tmp_path / "ids.txt", store.has) == wanted
        assert read_candidates(tmp_path / "ids.txt") == wanted


def test_an_id_as_a_line_names_this_item_or_is_refused_for_it_could_be_another(ids, store):
    known, refused = set(ids), 0
    for item in ids:
        for line in (item, f" {unicodedata.normalize('NFD', item)}\t"):
            try:
                assert read_candidates(io.BytesIO(line.encode()), store.has) == {item: 1}
            except CandidateError as error:
                assert "put a tab between id and quantity" in str(error)
                before, _, number = item.rpartition(",")
                assert before.strip() in known
                assert int(number) >= 1
                refused += 1
    assert 2 <= refused < len(ids) / 20


def test_every_output_has_exactly_the_ids(ids, index):
    """All ids, 40 at a time: each object is the centroid of an item."""
    with Matcher.open(index) as matcher:
        for start in range(0, len(ids), PHOTOS):
            some = ids[start : start + PHOTOS]
            vectors, unknown = matcher.store.centroids(some)
            assert unknown == []
            matches = matcher.match_vectors(vectors, some, names=some, unknown=0)
            outputs = {form: write(matches) for form, write in _FORMATTERS.items()}
            as_json = json.loads(outputs["json"])["matches"]
            by_line = [json.loads(line) for line in outputs["jsonl"].splitlines()]
            as_csv = list(csv.DictReader(io.StringIO(outputs["csv"], newline="")))
            assert [match.item_id for match in matches] == some
            for rows in (as_json, by_line, as_csv):
                assert [row["item_id"] for row in rows] == some
                assert [row["photo"] for row in rows] == some
                assert [row["runner_up"] for row in rows] == [m.runner_up for m in matches]
            for row, match in zip(as_json, matches, strict=True):
                others = [other["item_id"] for other in row["alternatives"]]
                assert others == [other.item_id for other in match.alternatives]
            assert len(outputs["table"].split("\n")) == len(some) + 2
            assert_shown(outputs["table"] + outputs["json"] + outputs["jsonl"])


def assert_shown(text):
    """Nothing in a text is obeyed by a terminal, but ends of lines."""
    obeyed = {"Cc", "Cs", "Zl", "Zp", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for char in set(text) - {"\n"}:
        assert not {unicodedata.category(char), unicodedata.bidirectional(char)} & obeyed, char


class Names(HTMLParser):
    """What a browser shows of the ids and names in a report, and other tags within them."""

    def __init__(self):
        super().__init__()
        self.found, self.inner, self._open = set(), [], []

    def handle_starttag(self, tag, attrs):
        if tag == "bdi":
            self._open.append("")
        elif self._open:
            self.inner.append(tag)

    def handle_endtag(self, tag):
        if tag == "bdi":
            self.found.add(self._open.pop())

    def handle_data(self, data):
        if self._open:
            self._open[-1] += data


def test_the_commands_take_and_tell_exactly_the_ids(ids, index, photos, embed, tmp_path):
    (tmp_path / "ids.txt").write_text("\n".join(map(candidate_line, ids)), encoding="utf-8")
    places = ("--index", index, "--model", index.with_name("items.model"))
    arguments = ("match", "--candidates", "ids.txt", *places, *photos)
    done = embed(*arguments, "--format", "json", "--report", "report.html")
    assert done.returncode == 0, done.stderr[:1000]
    document = json.loads(done.stdout)
    matched = [row["item_id"] for row in document["matches"] if row["item_id"]]
    assert sorted([*matched, *document["missing"]]) == sorted(ids)
    assert_shown(done.stdout + done.stderr)
    names = Names()
    names.feed((tmp_path / "report.html").read_bytes().decode())
    assert names.inner == []
    known = {*ids, *map(str, photos)}
    assert names.found >= known
    # A reason, 'sku-1 is likelier by itself', is written in one direction too, without the id.
    assert len(names.found - known) <= PHOTOS
    table = embed(*arguments)
    assert_shown(table.stdout + table.stderr)
    assert len(table.stdout.split("\n")) == PHOTOS + 2


def test_what_was_known_of_ids_is_known_again_and_what_is_gone_is_named(
    ids, manifest, index, random_embedder, photos, tmp_path
):
    for file in (index, index.with_name("items.index.photos")):
        shutil.copy2(file, tmp_path)
    again = build_index(read_catalogue(manifest), random_embedder, tmp_path / "items.index")
    assert (again.embedded, again.items) == (0, len(ids))
    kept = [(item, photos[number % PHOTOS]) for number, item in enumerate(ids) if number % 3]
    less = write_manifest(manifest.with_name("less.csv"), kept)
    report = build_index(read_catalogue(less), random_embedder, tmp_path / "items.index")
    assert report.removed == tuple(sorted(set(ids) - {item for item, _ in kept}))
    assert (report.embedded, report.items) == (0, len(kept))


def test_items_are_added_and_removed_by_any_id(index, random_embedder, photos, embed, tmp_path):
    shutil.copy2(index, tmp_path / "items.index")
    shutil.copytree(index.with_name("items.model"), tmp_path / "items.model")
    with Store.open(tmp_path / "items.index") as store:
        ids = list(store.ids())
    for item in PLAIN:
        for name in {item, unicodedata.normalize("NFD", item)}:
            with pytest.raises(CatalogueError, match="already"):
                add_item(tmp_path / "items.index", random_embedder, name, photos[:1])
        add_item(tmp_path / "items.index", random_embedder, item, photos[:1], replace=True)
    odd = [item for item in PLAIN if len(item) < 300]
    done = embed("remove", "--", *odd)
    different = {unicodedata.normalize("NFC", item) for item in odd}
    assert done.stderr == f"items.index: {len(different)} item(s) removed\n"
    assert remove_items(tmp_path / "items.index", ["x" * 4096]) == 1
    for item in ("<script>alert(1)</script>", "--help", "\u202egpj.exe", "../../etc/passwd"):
        done = embed("add", "--", item, photos[0])
        assert done.returncode == 0, done.stderr
        assert_shown(done.stderr)
        assert item.replace("\u202e", "\\u202e") in done.stderr
        different.remove(item)
    with Store.open(tmp_path / "items.index") as store:
        assert list(store.ids()) == [i for i in ids if i not in different | {"x" * 4096}]


@pytest.mark.parametrize("bad", REFUSED, ids=ascii)
def test_ids_that_no_list_can_hold_are_refused_in_one_line(
    bad, index, random_embedder, photos, tmp_path
):
    def refusal(action):
        with pytest.raises(CatalogueError) as caught:
            action()
        message = str(caught.value)
        assert_shown(message.replace("\n", "\0"))
        assert "expected" in message or "cannot be read as UTF-8" in message

    refusal(lambda: add_item(index, random_embedder, bad, photos[:1]))
    refusal(lambda: remove_items(index, [bad]))
    refusal(lambda: candidate_line(bad))
    path = tmp_path / "items.csv"
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        try:
            csv.writer(file).writerows([("item_id", "path"), ("ok", "1.jpg"), (bad, "2.jpg")])
        except UnicodeEncodeError:  # half of a character cannot even be written
            return
    if bad.strip(" \t") == bad:
        refusal(lambda: read_catalogue(path))
    else:  # spaces around what stands between commas are taken away, and nothing else
        (item,) = read_catalogue(path).items.keys() - {"ok"} if bad.strip() else ("",)
        assert item == bad.strip(" ")


def test_two_forms_of_one_id_are_refused(tmp_path):
    rows = [("caf\u00e9", "1.jpg"), ("cafe\u0301", "2.jpg")]
    with pytest.raises(CatalogueError, match="in two Unicode forms"):
        read_catalogue(write_manifest(tmp_path / "items.csv", rows))


MARK = "never-a-path"
HOSTILE = ["{}", "../{}", "../../{}", "/{}", "/tmp/{}", "~/{}", "{}/../x", "items.index/{}"]
HOSTILE += ["items.index.photos/../{}", "file:{}?mode=rwc", "C:\\{}", "{}.csv", "{}.jpg", "./{}"]
HOSTILE += ["{},3", "-{}", "catalogue/{}", "%2e%2e/{}", "|{}", "$({})", "{}\\..\\x"]

WATCHED = """
import os, sys

MARK, log = sys.argv.pop(1), sys.argv.pop(1)
log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(event, arguments):
    if MARK in repr(arguments):
        os.write(log, f"{event} {arguments!r}\\n".encode(errors="replace"))

sys.addaudithook(note)
for name in ("stat", "lstat", "access", "readlink", "statvfs"):  # of which no audit hook hears
    def watched(*arguments, real=getattr(os, name), name=name, **more):
        note(name, arguments)
        return real(*arguments, **more)
    setattr(os, name, watched)

if sys.argv[1] == "control":
    from pathlib import Path
    Path(MARK).exists()
    os.path.isfile("x/" + MARK)
    try:
        open(MARK)
    except OSError:
        sys.exit()
from cli.main import main
main(sys.argv[1:])
"""


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_no_path_is_built_from_an_id(random_model, photos, tmp_path):
    """Watched: every file that is opened, listed, made, moved or looked at in a process of each."""
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    shutil.copytree(random_model, place / "items.model")
    ids = [form.format(MARK) for form in HOSTILE]
    write_manifest(place / "items.csv", [(item, photos[number]) for number, item in enumerate(ids)])
    (place / "ids.txt").write_text("\n".join(map(candidate_line, ids)))
    write_manifest(place / "list.csv", [])
    with (place / "list.csv").open("w", newline="") as file:
        groups = [(photos[number // 2], ids[number // 2]) for number in range(2 * len(ids))]
        csv.writer(file).writerows([("photo", "group"), *groups])
    log, before = tmp_path / "log", set(files_below(tmp_path))

    def run(*arguments, status=0):
        command = [sys.executable, "-c", WATCHED, MARK, str(log), *map(str, arguments)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("EMBED_")}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stdout

    run("control")
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["stat", "stat", "open"]
    log.write_text("")
    run("build-index", "items.csv")
    run("build-index", "items.csv")
    run("add", "--replace", "--", ids[1], photos[-1])
    run("add", "--", f"../new-{MARK}", photos[-1])
    for form in ("json", "csv", "table"):
        output = run("match", "--candidates", "ids.txt", "--format", form, "list.csv")
        assert all(item in output for item in ids[:3])
    run("match", "--candidates", "ids.txt", "--independent", *photos[:3])
    run("calibrate", "items.csv")
    run("remove", "--", *ids[:5])
    run("remove", "--", f"no-{MARK}", status=1)
    assert log.read_text() == ""
    made = set(files_below(tmp_path)) - before - {"log"}
    assert made == {
        f"a/b/{name}" for name in ("items.index", "items.index.photos", ".items.index.lock")
    }
    assert not Path("/", MARK).exists()
    assert not Path("/tmp", MARK).exists()
