"""An index that changes while it is served: no request fails, none is answered by two of them."""

import json
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
from waiting import until


@pytest.fixture(scope="module")
def folder(served, sample, tmp_path_factory):
    """A folder of our own with a catalogue, an index and a model that may be changed."""
    found = tmp_path_factory.mktemp("generations")
    shutil.copytree(served / "items.model", found / "items.model")
    shutil.copy2(served / "items.index", found)
    shutil.copytree(sample / "catalogue", found / "catalogue")
    return found


@pytest.fixture(scope="module")
def server(start, folder):
    with start(folder) as running:
        yield running
        assert [line for line in running.log if "stays as it was" not in line] == []


@pytest.fixture
def command(embed_path, folder):
    def run(*arguments):
        command = [embed_path, *map(str, arguments)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)

    return run


@pytest.fixture(scope="module")
def ask(server, sample):
    """Match the photos; what is said of them, as text."""
    files = [
        ("photos", ("", path.read_bytes())) for path in sorted((sample / "photos").iterdir())[:4]
    ]
    fields = {"candidates": (sample / "ids.txt").read_text()}

    def run(client=httpx):
        answer = client.post(f"{server.url}/v1/match", files=files, data=fields, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text

    return run


@pytest.fixture
def meanwhile(ask):
    """While in it, others ask all the time; afterwards, each was answered as before or as after."""

    @contextmanager
    def run(changed=True):
        heard, failed, over = [ask()], [], threading.Event()

        def go_on():
            with httpx.Client() as client:
                while not over.is_set():
                    try:
                        heard.append(ask(client))
                        time.sleep(0.05)  # the commands need a core, too
                    except Exception as error:
                        failed.append(error)

        threads = [threading.Thread(target=go_on) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not failed, failed[0]
        after = ask()
        assert set(heard) <= {heard[0], after} and len(heard) > 10
        assert (after != heard[0]) is changed

    return run


def ready(server):
    return httpx.get(f"{server.url}/readyz").json()


def opened(server):
    return server.count("embed_index_opened")


@contextmanager
def newly_opened(server):
    """Leave it when what was done in it is served."""
    before = opened(server)
    yield
    until(lambda: opened(server) > before)


def test_an_index_of_fewer_photos_takes_over(server, folder, command, meanwhile):
    for photo in folder.glob("catalogue/*/000[0-5].jpg"):
        photo.unlink()
    assert list(folder.glob("catalogue/*/*.jpg"))
    with meanwhile(), newly_opened(server):
        command("build-index", "catalogue")


def test_another_model_takes_over(server, folder, command, meanwhile):
    command("train", "catalogue", "--size", "32", "--epochs", "2", "--model", "other.model")
    before = server.embedding()
    with meanwhile():
        (folder / "items.model").rename(folder / "old.model")
        (folder / "other.model").rename(folder / "items.model")
        with newly_opened(server):
            command("build-index", "catalogue")
    until(lambda: not set(before) & set(server.embedding()))
    assert len(server.embedding()) == len(before)


def test_items_come_and_go_in_place(server, folder, command, meanwhile, sample):
    photos = sorted((sample / "catalogue").iterdir())[0]
    items = ready(server)["items"]
    with meanwhile(changed=False):
        command("add", "another one", photos)
        until(lambda: ready(server)["items"] == items + 1)
        assert httpx.get(f"{server.url}/v1/items/another%20one").json()["added"] is True
        command("remove", "another one")
        until(lambda: ready(server)["items"] == items)
        assert httpx.get(f"{server.url}/v1/items/another%20one").status_code == 404


def test_a_calibration_takes_over(server, sample, command, meanwhile):
    with meanwhile(), newly_opened(server):
        command("calibrate", sample / "catalogue")


def test_an_index_that_is_gone_is_served_on(server, folder, meanwhile):
    path = folder / "items.index"
    with meanwhile(changed=False):
        path.rename(folder / "away")
        until(lambda: ready(server)["stale"])
        assert server.count("embed_index_stale") == 1
        assert httpx.get(f"{server.url}/v1/index").status_code == 200
        (folder / "away").rename(path)
        until(lambda: not ready(server)["stale"])


@pytest.mark.parametrize("content", [b"", b"garbage", b"SQLite format 3\0" + bytes(5000), None])
def test_garbage_in_its_place_is_not_served(server, folder, meanwhile, content):
    path, before = folder / "items.index", opened(server)
    if content is None:  # cut off
        content = path.read_bytes()[:-20_000]
    with meanwhile(changed=False):
        shutil.copy2(path, folder / "kept")
        (folder / "new").write_bytes(content)
        (folder / "new").replace(path)
        until(lambda: ready(server)["stale"])
        assert opened(server) == before
        (folder / "kept").replace(path)
        until(lambda: not ready(server)["stale"])
    assert "items.index" in server.log[-1] and "stays as it was" in server.log[-1]


def test_what_is_served_is_closed_when_it_is_replaced(server, folder, command):
    """Files stay open, and memory is held, of one generation alone."""
    if not (fds := folder.__class__(f"/proc/{server.process.pid}/fd")).is_dir():
        pytest.skip("this system does not say which files are open")

    def replace():
        with newly_opened(server):
            shutil.copy(folder / "items.index", folder / "new")
            (folder / "new").replace(folder / "items.index")

    def memory():
        pages = (fds.parent / "statm").read_text().split()[1]
        return int(pages) * 4096

    replace()
    for _ in range(3):
        replace()
    before, files = memory(), len(list(fds.iterdir()))
    for _ in range(15):
        replace()
    until(lambda: len(list(fds.iterdir())) <= files)
    assert memory() - before < 30_000_000


def test_answers_say_which_index_it_was(server, folder):
    facts = httpx.get(f"{server.url}/v1/index").json()
    assert facts["items"] == ready(server)["items"]
    assert json.loads(httpx.get(f"{server.url}/readyz").text)["searchable"] is True
