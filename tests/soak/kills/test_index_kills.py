"""Commands on an index, killed at random moments."""

import random
import re
import shutil
from itertools import count

import pytest

from embedder.sample import write_sample
from index.store import Store

EXPECTED = {".items.index.lock", "items.index", "items.index.photos"}
UNFINISHED = {"items.index.building", "items.index.building-journal", "items.index-journal"}
UNFINISHED |= {"items.index.photos-journal", ".items.index.lock-journal"}
MORE_THAN_ALL = 1.2  # of the time a command takes: some are to come to their end


@pytest.fixture(scope="module")
def photos(tmp_path_factory, settle):
    """Two states of a catalogue, photos of another item, and photos to calibrate with."""
    folder = tmp_path_factory.mktemp("photos")
    write_sample(folder, items=10, photos=12, queries=0, size=48)
    first, second = folder / "catalogue", folder / "changed"
    shutil.copytree(first, second)
    items = sorted(item.name for item in first.iterdir())
    shutil.move(second / items[0], folder / "by hand")
    shutil.rmtree(second / items[1])
    for photo in (second / items[2]).glob("*[13579].jpg"):
        photo.unlink()
    shutil.copytree(first / items[3], second / "new")
    settle(folder)
    return folder


@pytest.fixture(scope="module")
def commands(photos, random_model):
    """Commands by name; each has something to change, whatever was done before."""
    model = ("--model", random_model)
    hand = sorted((photos / "by hand").iterdir())
    kept = sorted(item.name for item in (photos / "changed").iterdir())[3]
    return {
        "build": ("build-index", *model, "--jobs", "1", photos / "catalogue"),
        "update": ("build-index", *model, "--jobs", "1", photos / "changed"),
        "add": ("add", *model, "--replace", "hand", *hand[:5]),
        "add again": ("add", *model, "--replace", "hand", *hand[5:]),
        "add to the catalogue's": ("add", *model, "--replace", kept, *hand),
        "remove": ("remove", kept),
        "calibrate": ("calibrate", *model, photos / "catalogue"),
    }


@pytest.fixture
def done(fork, content, tmp_path):
    """What an index says after a command that nothing disturbs; worked out once for each state."""
    known, folder = {}, tmp_path / "undisturbed"

    def after(index, command):
        key = (repr(content(index)), command)
        if key not in known:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in ("items.index", "items.index.photos"):
                if (index.parent / name).exists():
                    shutil.copyfile(index.parent / name, folder / name)
            ended = fork(folder, *command)
            known[key] = ended, content(folder / "items.index")
        return known[key]

    return after


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def told(ended):
    """What a command said, but for how many photos were known from before."""
    return re.sub(r"\(\d+ embedded now\)", "", ended.said)


def names(folder):
    return {path.name for path in folder.iterdir()}


def opened(index):
    """Open an index as we do, which is to undo what was left half done."""
    with Store.open(index) as store:
        assert len(list(store.ids())) == len(store) > 0
        assert store.damaged() == []


def test_commands_killed_at_random_leave_the_state_before_or_after(
    fork, commands, done, content, work, rounds
):
    """Each is killed on what the killed ones before it left, then any command has to work."""
    index, chance, killed, finished = work / "items.index", random.Random(0), 0, 0
    assert fork(work, *commands["build"]).code == 0
    for _ in range(rounds(40, 720)):
        command = chance.choice(list(commands.values()))
        before, (undisturbed, after) = content(index), done(index, command)
        moment = chance.uniform(0, MORE_THAN_ALL * undisturbed.took)
        ended = fork(work, *command, after=moment, between_commits=0.01)
        killed += ended.killed
        opened(index)
        found = content(index)
        assert found in (before, after), command
        finished += ended.killed and found == after != before
        if ended.said:  # it tells that it is done, or what is wrong
            assert (told(ended), found) == (told(undisturbed), after)
        assert names(work) <= EXPECTED | UNFINISHED

        command = chance.choice(list(commands.values()))
        undisturbed, after = done(index, command)
        ended = fork(work, *command)
        assert (ended.code, content(index)) == (undisturbed.code, after), ended.said
        if command[0] == "build-index":
            # A journal that nothing had been written to is deleted with the next write.
            assert names(work) - {"items.index.photos-journal"} == EXPECTED
    assert killed > rounds(40, 720) // 2


def test_first_builds_killed_again_and_again_embed_nothing_twice_that_was_kept(
    fork, commands, content, kept, work, rounds
):
    """The index is whole from the moment it is there, and is then as if built at once."""
    chance, kills, several = random.Random(1), 0, 0
    whole = work / "whole"
    whole.mkdir()
    undisturbed = fork(whole, *commands["build"])
    assert undisturbed.code == 0
    for number in count():
        if kills >= rounds(20, 200):
            break
        folder = work / str(number)
        folder.mkdir()
        index, before, here = folder / "items.index", 0, 0
        while True:
            moment = chance.uniform(0, undisturbed.took)
            ended = fork(folder, *commands["build"], after=moment, between_commits=0)
            if not ended.killed or index.exists():
                break
            assert ended.said == ""
            now = kept(index)
            assert now >= before
            before, kills, here = now, kills + 1, here + 1
            assert names(folder) <= EXPECTED | UNFINISHED
        if index.exists() and ended.killed:
            opened(index)
            assert content(index) == content(whole / "items.index")
            kills += 1
        else:
            assert f"({120 - before} embedded now)" in ended.said
        several += here > 1
        assert fork(folder, *commands["build"]).code == 0
        assert content(index) == content(whole / "items.index")
        assert names(folder) == EXPECTED
    assert several


def test_an_update_killed_again_and_again_embeds_nothing_twice_that_was_kept(
    fork, commands, photos, content, kept, work, rounds
):
    small, index, chance = work.parent / "small", work / "items.index", random.Random(2)
    for item in (photos / "catalogue").iterdir():
        (small / item.name).mkdir(parents=True)
        for photo in sorted(item.iterdir())[:4]:
            shutil.copy2(photo, small / item.name)
    first = fork(work, *commands["build"][:-1], small)
    assert first.code == 0
    old, kills = content(index), 0
    while kills < rounds(8, 80):
        before = kept(index)
        ended = fork(work, *commands["build"], after=chance.uniform(0, 0.05), between_commits=0)
        opened(index)
        kills += ended.killed
        assert kept(index) >= before
        if content(index) != old:
            assert ended.killed or f"({120 - before} embedded now)" in ended.said
            assert fork(work, *commands["build"]).code == 0
            for path in work.iterdir():
                path.unlink()
            assert fork(work, *commands["build"][:-1], small).code == 0
