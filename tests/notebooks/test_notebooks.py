"""Every notebook runs in its short form, and is kept with the outputs of its long one."""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a notebook in its short form, in a folder of its own, and what `last` prints after it."""

    def run(name, last):
        shutil.copytree(FOLDER, tmp_path / "notebooks")
        monkeypatch.setenv("EMBED_NOTEBOOK", "short")
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        notebook = nbformat.read(tmp_path / "notebooks" / name, 4)
        notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({last}))"))
        where = {"metadata": {"path": str(tmp_path / "notebooks")}}
        NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
        assert [output for output in outputs(notebook) if output.get("name") == "stderr"] == []
        (printed,) = notebook.cells[-1].outputs
        return json.loads(printed.text)

    return run


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_there_are_three():
    assert NOTEBOOKS == ["first_tour.ipynb", "will_it_scale.ipynb", "your_own_embeddings.ipynb"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_first_tour(run):
    found = run("first_tour.ipynb", "[len(truth), len(last), [match.status for match in last]]")
    assert found[0] in (7, 8)
    assert found[1] == 2
    assert set(found[2]) <= {"matched", "unsure", "unknown"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_your_own_embeddings(run):
    last = "[float(nearest), float(one_to_one), float(said), count]"
    nearest, one_to_one, said, added = run("your_own_embeddings.ipynb", last)
    assert 0.3 < nearest < one_to_one <= 1  # one of ten by chance
    assert said == pytest.approx(one_to_one, abs=0.15)
    assert added == 8


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_will_it_scale(run):
    rows = run("will_it_scale.ipynb", "results")
    designs = {row["design"] for row in rows}
    assert len(designs) == 4
    assert [(row["items"], row["design"]) for row in rows] == [
        (items, row["design"]) for items in (10, 20) for row in rows[:4]
    ]
    for row in rows:
        assert 0 <= row["right"] <= 1 and 0 <= row["right_one_to_one"] <= 1
        assert min(row[name] for name in ("training", "disk", "load", "match", "adding")) > 0
        assert row["extrapolated"] == (row["design"] == "(c) binary networks")
    engine = [row["right"] for row in rows if row["design"] == "(a) this engine"]
    assert sum(engine) / len(engine) > 0.3  # 0.1 by chance


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_kept_as_it_ran_from_top_to_bottom(name):
    notebook = nbformat.read(FOLDER / name, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(cell.outputs for cell in code)
    for output in outputs(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        text = json.dumps(
            {
                **output,
                "data": {
                    k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")
                },
            }
        )
        assert not re.search(r"/(tmp|home|work|root|Users)/", text)
    source = "\n".join(cell.source for cell in code)
    assert 'os.environ.get("EMBED_NOTEBOOK") == "short"' in source


def test_will_it_scale_is_kept_in_its_long_form():
    notebook = nbformat.read(FOLDER / "will_it_scale.ipynb", 4)
    text = json.dumps(outputs(notebook))
    assert all(f"{items} items" in text for items in ("100", "1,000", "10,000"))
