# Everything runs in .venv, which the first target sets up. `make demo` and
# `make test` need Python >= 3.10, git and make, and nothing else.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# One stamp for each state of setup.py: nothing is installed twice.
STAMP := $(VENV)/.beit3_mm-$(shell git hash-object setup.py)

# Clones may share a .venv; each one runs its own code.
export PYTHONPATH := $(CURDIR)
# Threads that wait for a turn do not burn the cores of the others.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo test proofs lint clean-demo

setup: $(STAMP)

$(STAMP):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	    "beit3_mm needs Python >= 3.10; set PYTHON=/path/to/python3")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --upgrade pip setuptools wheel
	$(PY) -m pip install -e '.[hosts,test]'
	touch $@

demo: $(STAMP)
	$(PY) projects/shapes/demo.py

test: $(STAMP)
	$(PY) -m pytest -m 'not proof' -n auto --maxprocesses=4 \
	    --dist=worksteal

proofs: $(STAMP)
	$(PY) -m pytest -m proof

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean-demo:
	rm -rf work_dirs/shapes
