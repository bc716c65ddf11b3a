# make demo   the main job on generated photos: sample, train, build-index, match
# make test   all tests
# make soak   the tests of tests/soak, and the fuzzed requests, in their long form: hours
# make lint   ruff and mypy
# make docs   the documentation as a site: build/site/index.html
# make reference, make transcript   what pages say of the commands, anew; the latter needs tmux
# make lock   renew requirements.lock from setup.cfg, and tests/oracle/requirements.lock
# Each makes .venv first, from the lock. All that has to be there is Python 3.11 to 3.13.
# make test makes .venv-tfa too, for the real tensorflow-addons, given Python 3.11 on x86-64 Linux.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ORACLE := .venv-tfa/.ready

.PHONY: demo test soak lint docs reference transcript lock clean

demo: $(READY)
	$(BIN)/python benchmarks/demo.py demo

# Two processes: of more, those with TensorFlow would take all memory of a small machine. Files come
# in the order that tests/conftest.py gives them: otherwise those of few tests, which take long, are last.
test: $(READY) $(ORACLE)
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

soak: $(READY)
	EMBED_SOAK=1 $(BIN)/pytest tests/soak tests/service/test_fuzz.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/site

reference: $(READY)
	$(BIN)/python docs/cli_reference.py

transcript: $(READY)
	$(BIN)/python docs/walkthrough.py

$(READY): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or \
	sys.exit("expected Python 3.11 to 3.13, found %d.%d: make PYTHON=python3.13 ..." % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Makes nothing where there is no such Python: the test that needs it skips, or fails in CI.
$(ORACLE): tests/oracle/requirements.lock
	@rm -rf .venv-tfa
	@for python in $(PYTHON) python3.11; do \
	if $$python -c 'import platform, sys; sys.exit((*sys.version_info[:2], sys.platform, \
	platform.machine()) != (3, 11, "linux", "x86_64"))' 2>/dev/null; then \
	set -ex; $$python -m venv .venv-tfa; .venv-tfa/bin/pip install --quiet \
	--disable-pip-version-check --require-hashes -r tests/oracle/requirements.lock; \
	touch $(ORACLE); exit; fi; done; \
	echo "no Python 3.11 on x86-64 Linux here: tensorflow-addons itself is not run"

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-header --no-annotate --extra train --extra dev --constraint requirements.constraints \
	--output-file requirements.lock setup.cfg
	$(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--generate-hashes --upgrade --no-header --no-annotate \
	--output-file tests/oracle/requirements.lock tests/oracle/requirements.in

clean:
	rm -rf .venv .venv-tfa demo build dist *.egg-info
