import signal
import subprocess
import sys

from embedder.locking import only_process

HOLD = """
import sys, time
from pathlib import Path
from embedder.locking import only_process
with only_process(Path(sys.argv[1])) as alone:
    print(alone, flush=True)
    time.sleep(60)
"""


def test_one_at_a_time_within_a_process(tmp_path):
    lock = tmp_path / "lock"
    with only_process(lock) as first:
        with only_process(lock) as second:
            assert (first, second) == (True, False)
        with only_process(lock) as third:
            assert not third
    with only_process(lock) as later:
        assert later


def test_a_lock_goes_with_a_process_that_is_killed(tmp_path):
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "True\n"
    with only_process(lock) as alone:
        assert not alone
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with only_process(lock) as alone:
        assert alone
