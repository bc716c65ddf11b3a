"""What FAISS' threads do while they wait, as OpenMP itself tells it."""

import os
import re
import subprocess
import sys

import pytest

SAY = "import os; from index.faiss_loading import load_faiss; load_faiss(); load_faiss(); "
SAY += "print(os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize("chosen", [None, "ACTIVE"])
def test_they_sleep_unless_told_otherwise(chosen):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment |= {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": chosen} if chosen else {})
    done = subprocess.run(
        [sys.executable, "-c", SAY], capture_output=True, text=True, env=environment, check=True
    )
    found = re.findall(r"OMP_WAIT_POLICY\s*=\s*'?(\w+)", done.stderr)
    assert set(found) == {chosen or "PASSIVE"}, done.stderr
    assert done.stdout.split() == [str(chosen)]  # no other program is told


def test_where_faiss_is_there_already_the_environment_stays():
    code = "import faiss, os; before = dict(os.environ); from index import faiss_loading; "
    code += "assert faiss_loading.load_faiss() is faiss; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", code], check=True)
