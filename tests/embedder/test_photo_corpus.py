"""Every file of the corpus: how it looks, why it is refused, and what it takes."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from photo_corpus import SIDE, STORED, write_corpus
from pictures import UPRIGHT, encoded, picture, with_more_scans
from PIL import Image

from embedder import PhotoError
from embedder.photo_formats import _scans
from embedder.photos import prepare

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore:Image size")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def corpus(folder):
    return write_corpus(folder)


@pytest.fixture(scope="module")
def good(corpus):
    return [case for case in corpus if case.pixels is not None]


def seen(photo):
    """The pixels of a photo, or why it is refused."""
    try:
        return prepare(photo, SIDE)
    except PhotoError as error:
        assert "\n" not in error.reason
        return error.reason


def test_every_file_looks_as_it_should_or_is_refused_for_the_reason_it_should(folder, corpus, good):
    assert len(corpus) >= 140
    assert len(good) >= 90
    wrong = {}
    for case in corpus:
        found = seen(folder / case.name)
        if isinstance(found, str):
            right = case.pixels is None and case.reason in found.lower()
        elif case.pixels is None:
            right = False
        else:
            off = np.abs(found.astype(int) - prepare(case.pixels, SIDE)).max()
            right = off <= case.tolerance
            found = f"off by {off}, not {case.tolerance}"
        if not right:
            wrong[case.name] = found
    assert wrong == {}


def test_pictures_turned_otherwise_would_be_seen_to_be_wrong(good):
    turned = [np.ascontiguousarray(turn(STORED)) for turn in UPRIGHT.values()]
    for at, one in enumerate(turned):
        for other in turned[:at]:
            difference = np.abs(prepare(one, SIDE).astype(int) - prepare(other, SIDE)).max()
            assert difference > 2 * max(case.tolerance for case in good)


def test_a_photo_is_the_same_from_its_bytes_and_from_pillow(folder, good):
    opened = 0
    for case in good:
        path = folder / case.name
        expected, content = prepare(path, SIDE), path.read_bytes()
        np.testing.assert_array_equal(prepare(content, SIDE), expected, case.name)
        if content[4:8] != b"ftyp":  # Pillow by itself opens no HEIC
            with Image.open(io.BytesIO(content)) as image:
                np.testing.assert_array_equal(prepare(image, SIDE), expected, case.name)
                opened += 1
    assert opened > 80


def test_good_photos_are_embedded_alike_whatever_is_beside_them(
    folder, corpus, good, random_embedder
):
    alone = [random_embedder.embed_one(folder / case.name).tobytes() for case in good]
    assert len(set(alone)) > 30
    mixed = list(corpus)
    for seed, jobs in ((0, 1), (1, 4), (2, 4)):
        np.random.default_rng(seed).shuffle(mixed)
        results = random_embedder.embed([folder / case.name for case in mixed], jobs)
        found = dict(zip((case.name for case in mixed), results, strict=True))
        assert [found[case.name].tobytes() for case in good] == alone
        bad = [case.name for case in corpus if case.pixels is None]
        assert all(isinstance(found[name], PhotoError) for name in bad)


PEAKS = """
import sys, threading, warnings
from embedder import PhotoError
from embedder.photos import prepare

warnings.simplefilter("ignore")

def see(path):
    try:
        prepare(path, 48)
    except PhotoError:
        pass

def peak():
    # Not ru_maxrss, which begins with that of the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

before, *rest = sys.argv[2:]
see(before)
print(peak())
while rest:
    some, rest = rest[: int(sys.argv[1])], rest[int(sys.argv[1]) :]
    threads = [threading.Thread(target=see, args=(path,)) for path in some]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(peak())
"""


def peaks(before, photos, at_once=1):
    """The peak memory of a process in KB after one photo, and after each (or so many) of others."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process's peak of memory")
    command = [sys.executable, "-c", PEAKS, str(at_once), str(before), *map(str, photos)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [int(line) for line in done.stdout.split()]


def test_bombs_are_refused_before_they_take_memory(folder, corpus):
    bombs = [case.name for case in corpus if case.name.startswith("bomb")]
    assert len(bombs) >= 10
    # The decoder of HEIC comes with the photo before; decoded, each would take 160 MB to 1.6 GB.
    before, *after = peaks(folder / "turned-6.heic", [folder / name for name in bombs])
    grown = {name: peak - before for name, peak in zip(bombs, after, strict=True)}
    assert max(grown.values()) < 40_000, grown


def test_a_large_jpeg_takes_little(folder, tmp_path):
    (tmp_path / "large.jpg").write_bytes(encoded(Image.new("L", (10_000, 10_000)), "JPEG"))
    before, after = peaks(folder / "grey.jpg", [tmp_path / "large.jpg"])
    assert after - before < 40_000


def test_large_photos_take_turns(folder, tmp_path):
    side = 5_600
    pixels = np.zeros((side, side, 4), np.uint8)
    (tmp_path / "large.png").write_bytes(encoded(pixels, compress_level=1))
    large = tmp_path / "large.png"
    before, one = peaks(folder / "alpha.png", [large])
    _, four = peaks(folder / "alpha.png", [large] * 4, at_once=4)
    assert one - before > 100_000
    assert four - before < 1.6 * (one - before)


@pytest.mark.parametrize(
    ("data", "scans"),
    [
        (encoded(STORED, "JPEG"), 1),
        (encoded(STORED[..., 0], "JPEG"), 1),
        (encoded(STORED, "JPEG", progressive=True), 10),
        (encoded(STORED[..., 0], "JPEG", progressive=True), 6),
        (encoded(picture(64, 64), "JPEG", restart_marker_blocks=1), 1),
        (with_more_scans(encoded(STORED, "JPEG", progressive=True), 7), 17),
        (b"\xff\xd8" + b"\xff\xfe\0\4ab\0" + encoded(STORED, "JPEG", progressive=True)[2:], 10),
        (b"\xff\xd8junk\xff\0\xff\1\xff\xd0" + encoded(STORED, "JPEG", progressive=True)[2:], 10),
        (b"\xff\xd8\xff\xe0\0", 0),
        (b"\xff\xd8" + b"\xff\xe0\0\0" * 1000, 0),
        (b"\xff\xd8" + b"\xff" * 1000 + b"\xda\0\x02", 1),
    ],
)
def test_scans_of_a_jpeg_are_counted(data, scans):
    assert _scans(data) == scans
    # What follows the end, as the film of a moving photo, or is in a preview, does not count.
    progressive = encoded(STORED, "JPEG", progressive=True)
    if scans:
        assert _scans(data + progressive * 3) == scans
    preview = b"\xff\xe1" + (len(progressive) + 2).to_bytes(2, "big") + progressive
    assert _scans(data[:2] + preview + data[2:]) == scans


def test_a_jpeg_of_many_scans_is_read_while_it_takes_little():
    data = with_more_scans(encoded(STORED, "JPEG", progressive=True, quality=98), 50)
    assert np.abs(prepare(data, SIDE).astype(int) - prepare(STORED, SIDE)).max() < 40


def test_a_heic_is_shown_by_itself_not_by_the_preview_in_it():
    import pillow_heif

    photo = Image.fromarray(picture(96, 192, seed=3))
    with_preview = io.BytesIO()
    pillow_heif.from_pillow(photo).save(with_preview, quality=95, thumbnails=[96])
    without = io.BytesIO()
    pillow_heif.from_pillow(photo).save(without, quality=95)
    assert len(with_preview.getvalue()) > len(without.getvalue()) + 100
    np.testing.assert_array_equal(
        prepare(with_preview.getvalue(), SIDE), prepare(without.getvalue(), SIDE)
    )


WITHOUT_HEIC = """
import sys

sys.modules["pillow_heif"] = None  # cannot be imported
from embedder import PhotoError
from embedder.photos import prepare

for path in sys.argv[1:]:
    try:
        print(prepare(path, 48).shape)
    except PhotoError as error:
        print(error.reason)
"""


def test_without_its_extra_a_heic_is_refused_with_its_name_and_others_are_read(folder, corpus):
    names = ["turned-6.heic", "plain.bmp", "heic-called.jpg", "turned-6.jpeg"]
    command = [sys.executable, "-c", WITHOUT_HEIC, *(str(folder / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    says = "reading HEIC photos needs the extra [heic]: pip install 'embed-match[heic]'"
    assert done.stdout.splitlines() == [says, "(48, 48, 3)", says, "(48, 48, 3)"]


def test_the_decoder_of_heic_is_not_imported_for_other_photos(folder, corpus, good):
    others = [str(folder / case.name) for case in good if "heic" not in case.name]
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from embedder.photos import prepare\n"
        "for path in sys.argv[1:]: prepare(path, 48)\n"
        "print('pillow_heif' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *others]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == [b"False"]
