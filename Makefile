PYTHON ?= python3
# TORCH=cpu takes PyTorch without GPU support: a download of about 200 MB in place of some GB.
TORCH ?=
# More arguments for pytest, or for the benchmark.
ARGS ?=

BIN := .venv/bin
STAMP := .venv/.installed
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo lab notebooks test bench clean

help:
	@echo 'make demo         a first style transfer, without any setup'
	@echo 'make lab          JupyterLab with the notebooks'
	@echo 'make notebooks    executes the notebooks'
	@echo 'make test         ruff and pytest; ARGS="-k name" goes to pytest'
	@echo 'make bench        speed and memory beside a plain loop; ARGS="--peer FOLDER" beside neural-style-pt'
	@echo 'make clean        removes caches and build products, not .venv and not your runs'
	@echo
	@echo 'The first of these to need it makes .venv and installs everything there.'
	@echo 'TORCH=cpu         (Linux) PyTorch without GPU support: far less to download; when .venv is first made'
	@echo 'PYTHON=python3.12 another Python than python3; 3.11 or newer'
	@echo 'rm -r .venv       starts over'

demo: $(STAMP)
	$(BIN)/nsutils demo

lab: $(STAMP)
	$(BIN)/nsutils lab

notebooks: $(STAMP)
	$(BIN)/python notebooks/execute.py

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(STAMP)
	$(BIN)/python tests/bench.py $(ARGS)

# A .venv whose pip does not answer was cut off while being made, or its Python is gone: it is made anew.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c '' || { echo "make: $(PYTHON) cannot be run; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1); 3.11 or newer is needed, for example: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) has no venv; on Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo 'Making .venv'; $(PYTHON) -m venv --clear .venv; }
ifeq ($(TORCH),cpu)
	@echo 'Installing PyTorch for the CPU'
# Only these two from there: that index has few versions of what they depend on.
	@$(PIP_INSTALL) --no-deps --index-url https://download.pytorch.org/whl/cpu torch torchvision
else ifneq ($(TORCH),)
	@echo 'make: TORCH can be cpu or empty, not $(TORCH)'; exit 1
endif
	@echo 'Installing nsutils and what it needs; the first time this can take some minutes'
	@$(PIP_INSTALL) -e '.[test]'
	@touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find nsutils tests notebooks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	find . -path ./.venv -prune -o -path ./data -prune -o -name .ipynb_checkpoints -prune -exec rm -rf {} +
