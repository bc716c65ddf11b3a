"""Single bits flipped, and files cut off: it is seen, or it makes no difference."""

import os
import shutil
from collections import Counter

import numpy as np

from embedder import IndexFileError, read_catalogue
from index import Matcher, build_index, verify_index
from index.calibration import read_background, read_calibration
from index.store import Store
from index.whitening import read_score_space

FEW = 6  # numbers in a vector
QUERIES = np.random.default_rng(0).normal(size=(3, FEW)).astype(np.float32)


def contents(path, ids):
    """All that can be asked of an index, or the error that it answers with."""
    found = {}
    try:
        with Matcher.open(path) as matcher:
            store = matcher.store
            for item_id in ids:
                found[f"'{item_id}'"] = attempt(of_item, store, item_id)
            found["score space"] = attempt(lambda: as_bytes(read_score_space(store)))
            found["calibration"] = attempt(lambda: read_calibration(store))
            found["background"] = attempt(lambda: as_bytes(read_background(store)))
            found["unreadable"] = attempt(lambda: list(map(str, store.unreadable())))
            found["matches"] = attempt(lambda: matcher.match_vectors(QUERIES, ids).to_dict())
            found["info"] = store.info
    except IndexFileError as error:
        found["open"] = error
    return found


def of_item(store, item_id):
    rows, references = store.statistics([item_id]), store.references([item_id])
    return rows[item_id], references[item_id], store.has(item_id)


def as_bytes(part):
    return [getattr(value, "tobytes", lambda v=value: v)() for value in vars(part).values()]


def attempt(read, *values):
    try:
        return read(*values)
    except IndexFileError as error:
        return error


def outcome(path, ids, expected):
    """What one damage did; fails if it did anything that it must not."""
    found = contents(path, ids)
    problems = attempt(lambda: verify_index(path).problems)
    errors = [value for value in found.values() if isinstance(value, IndexFileError)]
    for name, value in found.items():
        if isinstance(value, IndexFileError):
            assert str(path) in str(value) and "\n" not in str(value)
            assert not name.startswith("'") or name in str(value), (name, value)
        else:
            assert value == expected[name], name
    if not errors:
        assert found.keys() == expected.keys()
        return "harmless" if problems == () else "seen by verify"
    assert problems, errors
    return "not opened" if "open" in found else "item named" if named(errors, ids) else "part named"


def named(errors, ids):
    return any(f"'{item_id}'" in str(error) for error in errors for item_id in ids)


def flipped(path, bit):
    """Turn one bit of a file over; the same again turns it back."""
    with path.open("r+b") as file:
        file.seek(int(bit) // 8)
        (value,) = file.read(1)
        file.seek(int(bit) // 8)
        file.write(bytes([value ^ (1 << (int(bit) % 8))]))


def one_of_each_stretch(bits, count):
    """So many random bits, evenly spread: as many anywhere would pass over longer stretches."""
    ends = np.linspace(0, bits, count + 1).astype(int)
    return np.random.default_rng(7).integers(ends[:-1], ends[1:])


def test_no_single_bit_gives_a_wrong_answer(whole, tmp_path, rounds):
    path = tmp_path / "items.index"
    shutil.copy2(whole, path)
    ids, bits = ids_of(whole), 8 * whole.stat().st_size
    expected, counts = contents(path, ids), Counter()
    for bit in one_of_each_stretch(bits, rounds(2500, bits)):
        flipped(path, bit)
        try:
            counts[outcome(path, ids, expected)] += 1
        except BaseException as error:
            error.add_note(f"bit {bit % 8} of byte {bit // 8}, in page {bit // 8 // 4096 + 1}")
            raise
        flipped(path, bit)
    assert path.read_bytes() == whole.read_bytes()
    assert counts["item named"] > 100


def test_a_file_that_is_cut_off_anywhere_gives_no_wrong_answer(whole, tmp_path, rounds):
    path, content = tmp_path / "items.index", whole.read_bytes()
    shutil.copy2(whole, path)
    ids = ids_of(whole)
    expected, counts = contents(path, ids), Counter()
    for length in range(len(content) - 1, -1, -rounds(7, 1)):
        os.truncate(path, length)
        try:
            Store.open(path).close()
        except IndexFileError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            counts["not opened"] += 1
        else:  # what is cut off of the last page reads as zeros
            assert length > len(content) - 4096
            counts[outcome(path, ids, expected)] += 1
    assert counts["not opened"] >= (len(content) - 4096) // rounds(7, 1)


def test_repair_makes_anew_what_is_damaged_and_only_that(
    whole, folder, few_numbers, tmp_path, rounds, everything
):
    path, catalogue = tmp_path / "items.index", read_catalogue(folder)
    ids, expected = ids_of(whole), everything(whole)
    rng, repaired = np.random.default_rng(8), Counter()
    while repaired.total() < rounds(200, 5000):
        for name in (whole.name, f"{whole.name}.photos"):
            shutil.copy2(whole.with_name(name), tmp_path)
        flipped(path, bit := rng.integers(8 * whole.stat().st_size))
        found = attempt(lambda: verify_index(path).problems)
        if not found:
            continue
        calibrated = attempt(calibration, path)
        report = build_index(catalogue, few_numbers, path, repair=True)
        try:
            assert report.embedded == 0
            assert verify_index(path).problems == ()
            assert {*report.lost} == {*ids} - {*ids_of(path)}
            assert not {*report.lost} & {*catalogue.items}
            items, *parts = everything(path)
            assert items == [row for row in expected[0] if row[0] not in report.lost]
            if not report.lost and calibrated == calibration(whole):  # it is not of the photos
                assert parts == expected[1:]
        except BaseException as error:
            error.add_note(f"bit {bit % 8} of byte {bit // 8}: {found}: {report}")
            raise
        repaired["lost" if report.lost else "whole"] += 1
    assert repaired["whole"] > repaired["lost"]


def test_a_build_without_repair_keeps_what_is_whole_or_says_that_it_cannot(
    whole, folder, few_numbers, tmp_path, rounds
):
    path, catalogue = tmp_path / "items.index", read_catalogue(folder)
    ids = ids_of(whole)
    expected, counts = contents(whole, ids), Counter()
    for bit in np.random.default_rng(9).integers(8 * whole.stat().st_size, size=rounds(500, 9000)):
        for name in (whole.name, f"{whole.name}.photos"):
            shutil.copy2(whole.with_name(name), tmp_path)
        flipped(path, bit)
        try:
            report = build_index(catalogue, few_numbers, path)
            found = contents(path, [item_id for item_id in ids if item_id not in report.lost])
            assert not {*report.lost} & {*catalogue.items}
            for name, value in found.items():
                if name.startswith("'"):
                    assert value == expected[name]
        except IndexFileError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            counts["refused"] += 1
        except BaseException as error:
            error.add_note(f"bit {bit % 8} of byte {bit // 8}")
            raise
        counts["built"] += 1
    assert counts["built"] > 10 * counts["refused"]


def test_a_build_takes_over_what_is_left_of_a_file_that_was_cut_off(
    whole, folder, few_numbers, tmp_path
):
    path, content, ids = tmp_path / "items.index", whole.read_bytes(), set(ids_of(whole))
    catalogue, counts = read_catalogue(folder), Counter()
    for length in range(8 * 4096, len(content), 4096):
        path.write_bytes(content[:length])
        report = build_index(catalogue, few_numbers, path)
        assert {*report.lost} == ids - set(ids_of(path))
        assert verify_index(path).problems == ()
        counts[len(report.lost)] += 1
    assert counts[0]


def calibration(path):
    with Store.open(path) as store:
        return read_calibration(store)


def ids_of(path):
    with Store.open(path) as store:
        return list(store.ids())
