"""Nothing that is read can run: no pickles, no archives, no code from texts, no shell."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("embedder", "index", "cli", "benchmarks")
# What ours is compared with: written as it often is.
OTHERS = {"naive_build.py", "naive_match.py"}

MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
MODULES |= {"zipfile", "tarfile"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
# By the last name, whatever it is called on.
CALLS = {"unpack_archive", "load_model", "enable_load_extension", "load_extension"}
METHODS = {("os", "system"), ("os", "popen"), ("yaml", "load"), ("yaml", "unsafe_load")}
ARGUMENTS = {"allow_pickle", "shell"}


def forbidden(code):
    """What of it a text of Python uses, with line numbers."""
    found = []
    for node in ast.walk(ast.parse(code)):
        names = set()
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").split(".")[0]} & MODULES
            names |= {alias.name for alias in node.names} & CALLS
            names |= {name for module, name in METHODS if module == node.module} & {
                alias.name for alias in node.names
            }
        elif isinstance(node, ast.Attribute):
            names = {node.attr} & CALLS
            if isinstance(node.value, ast.Name) and (node.value.id, node.attr) in METHODS:
                names.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Name):
            names = {node.id} & (BUILTINS | CALLS)
        elif isinstance(node, ast.keyword) and node.arg in ARGUMENTS:
            constant = isinstance(node.value, ast.Constant) and not node.value.value
            names = set() if constant else {node.arg}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = {node.value} & MODULES  # for importlib.import_module
        found += [(node.lineno, name) for name in sorted(names)]
    return found


@pytest.mark.parametrize(
    "code",
    [
        *(f"import {name}" for name in sorted(MODULES)),
        *(f"from {name} import *" for name in sorted(MODULES)),
        "import os, pickle as data",
        "import pickle.whatever",
        "importlib.import_module('pickle')",
        "eval('1')",
        "exec(text)",
        "compile(text, '', 'exec')",
        "run = eval",
        "__import__('os')",
        "shutil.unpack_archive(path)",
        "from shutil import unpack_archive",
        "keras.models.load_model(path)",
        "keras.saving.load_model(path)",
        "from keras.models import load_model as read",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "connection.enable_load_extension(True)",
        "connection.load_extension(path)",
        "yaml.load(text)",
        "from yaml import load",
        "os.system('ls')",
        "from os import system",
        "os.popen('ls')",
        "subprocess.run('ls', shell=True)",
    ],
)
def test_each_of_them_is_found(code):
    assert len(forbidden(f"import json\nif True:\n    {code}\n")) == 1


@pytest.mark.parametrize(
    "code",
    [
        "re.compile('a')",
        "json.load(file)",
        "np.load(path, allow_pickle=False)",
        "subprocess.run(['ls'], shell=False)",
        "embedder.load_weights(path)",
        "evaluate(model)",
        "say('no pickle is read')",
    ],
)
def test_nothing_else_is_found(code):
    assert forbidden(code) == []


@pytest.mark.parametrize("place", PLACES)
def test_none_of_our_code_uses_them(place):
    files = sorted(path for path in (ROOT / place).rglob("*.py") if path.name not in OTHERS)
    assert files
    found = {str(path.relative_to(ROOT)): forbidden(path.read_text("utf-8")) for path in files}
    assert {path: uses for path, uses in found.items() if uses} == {}
