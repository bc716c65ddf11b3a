"""What is imported when, and from where."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("embedder", "index", "cli", "service")

MATCH = """
import sys
from index import Matcher, read_candidates
ids = read_candidates(sys.argv[3])
with Matcher.open(sys.argv[1], sys.argv[2]) as matcher:
    assert matcher.match([sys.argv[4]], ids)[0].item_id
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def modules_after(code, *arguments, cwd):
    command = [sys.executable, "-I", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_matching_imports_no_training_library(tmp_path, random_model, random_embedder, catalogue):
    from index import build_index

    build_index(catalogue, random_embedder, tmp_path / "items.index")
    (tmp_path / "ids.txt").write_text("\n".join(catalogue.items))
    photo = next(iter(catalogue.items.values()))[0]
    loaded = modules_after(
        MATCH, tmp_path / "items.index", random_model, tmp_path / "ids.txt", photo, cwd=tmp_path
    )
    assert {"ai_edge_litert", "numpy", "PIL", "sqlite3"} <= loaded
    heavy = {"tensorflow", "keras", "safetensors", "scipy", "faiss"}
    assert not loaded & {*heavy, "rich", "click", "cli"}


COMMAND = """
import sys
from cli.main import main
main(sys.argv[1:], standalone_mode=False)
print(*sorted(sys.modules))
"""


def test_help_imports_nothing_heavy(tmp_path):
    loaded = modules_after(COMMAND, "--help", cwd=tmp_path)
    assert "click" in loaded
    tops = {name.split(".")[0] for name in loaded}
    assert not tops & {"tensorflow", "keras", "numpy", "PIL", "ai_edge_litert", "rich", "scipy"}
    assert "sqlite3" not in tops


def test_the_match_command_loads_only_what_it_needs(
    tmp_path, random_model, random_embedder, catalogue
):
    from index import build_index

    build_index(catalogue, random_embedder, tmp_path / "items.index")
    (tmp_path / "ids.txt").write_text("\n".join(catalogue.items))
    photo = next(iter(catalogue.items.values()))[0]
    options = ("--model", random_model, "--candidates", "ids.txt", photo)
    loaded = modules_after(COMMAND, "match", *options, cwd=tmp_path)
    ours = {name for name in loaded if name.split(".")[0] in PACKAGES}
    assert ours == {
        *("cli", "cli.main", "cli.match", "cli.output", "cli.photos_given", "cli.progress"),
        *("embedder", "embedder.catalogue", "embedder.errors", "embedder.inference"),
        *("embedder.advice", "embedder.labelled_vectors", "embedder.litert", "embedder.locking"),
        *("embedder.manifests", "embedder.model_files", "embedder.parallel"),
        *("embedder.photo_formats", "embedder.photo_names"),
        *("embedder.photos", "embedder.quiet", "embedder.score_space", "embedder.version"),
        *("index", "index.assignment", "index.calibration", "index.candidates"),
        *("index.database", "index.deciding", "index.describing", "index.fetching"),
        *(
            "index.marginals",
            "index.matching",
            "index.parts",
            "index.places",
            "index.priors",
            "index.results",
        ),
        *(
            "index.row_file",
            "index.rows",
            "index.schema",
            "index.session",
            "index.statistics",
            "index.store",
            "index.stores",
            "index.views",
            "index.whitening",
        ),
    }
    others = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names) - set(PACKAGES)
    others = {name for name in others if not name.startswith("_")}
    assert others == {"ai_edge_litert", "click", "numpy", "PIL"}


def test_a_process_that_reads_folders_loads_little(tmp_path):
    # The build waits for its start.
    loaded = modules_after(
        "import sys, index.folder_reading; print(*sorted(sys.modules))", cwd=tmp_path
    )
    others = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert {name for name in others if not name.startswith("_")} == {"embedder", "index"}
    assert "sqlite3" not in loaded


def test_modules_in_the_working_folder_do_not_shadow_ours(tmp_path, embed):
    for name in (*PACKAGES, "numpy", "click"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    # Enough photos for worker processes, which must not look into the working folder either.
    done = embed("sample", "new", "--items", "30", "--queries", "0")
    assert done.returncode == 0
    assert "shadowed" not in done.stderr + done.stdout


def test_packages_are_regular_ones_with_type_marks():
    for package in PACKAGES:
        assert (ROOT / package / "__init__.py").is_file()
        assert (ROOT / package / "py.typed").is_file()


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("embedder", {"index", "cli", "service", "click"}),
        ("index", {"cli", "service", "click"}),
        ("cli", {"service"}),
    ],
)
def test_imports_go_one_way(package, forbidden):
    for path in (ROOT / package).rglob("*.py"):
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & forbidden, path


def test_index_uses_the_embedder_for_photos_never_for_training():
    allowed = {"embedder", "embedder.catalogue", "embedder.errors", "embedder.inference"}
    allowed |= {"embedder.photos", "embedder.advice", "embedder.locking", "embedder.score_space"}
    allowed |= {"embedder.labelled_vectors", "embedder.parallel", "embedder.children"}
    allowed |= {"embedder.quiet", "embedder.manifests"}
    # What trainings are judged by, without any training: others are judged alike, on even samples.
    allowed |= {"embedder.validation", "embedder.sampling"}
    for path in (ROOT / "index").rglob("*.py"):
        used = {name for name in imported(path) if name.split(".")[0] == "embedder"}
        assert used <= allowed, path


def test_training_without_tensorflow_names_the_extra(tmp_path):
    # A folder of stand-ins that cannot be imported, in front of the real ones.
    for name in ("keras", "tensorflow"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from embedder import MissingExtraError\n"
        "try:\n    import embedder.training\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    assert "'embed-match[train]'" in modules_after(code, tmp_path, cwd=tmp_path)
