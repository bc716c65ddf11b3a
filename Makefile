# make demo   the main job on generated photos: sample, train, build-index, match
# make test   all tests
# make lint   ruff and mypy
# make lock   renew requirements.lock from setup.cfg
# Each makes .venv first, from the lock. All that has to be there is Python 3.11 to 3.13.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint lock clean

demo: $(READY)
	$(BIN)/python benchmarks/demo.py demo

test: $(READY)
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or \
	sys.exit("expected Python 3.11 to 3.13, found %d.%d: make PYTHON=python3.13 ..." % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-header --no-annotate --extra train --extra dev --constraint requirements.constraints \
	--output-file requirements.lock setup.cfg

clean:
	rm -rf .venv demo build dist *.egg-info
