# One command per intent. `make help` lists them.
VENV   ?= .venv
PYTHON ?= python3
TORCH  ?= cpu

BIN   := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed-$(TORCH)
UV    := $(BIN)/uv pip install -q --python $(BIN)/python

export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

ifeq ($(filter $(TORCH),cpu cuda),)
$(error TORCH is '$(TORCH)'; it is cpu or cuda)
endif

.DEFAULT_GOAL := help
.PHONY: help setup repro test check smoke docs lab hooks export lock

help: ## this list
	@echo "usage: make TARGET [VENV=folder] [PYTHON=python3] [TORCH=cpu|cuda] [STUDIES=default|full]"
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | awk -F '\t' '{printf "  %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## the installation alone: the pinned requirements in a virtual environment

$(STAMP): requirements.txt requirements.in pyproject.toml scripts/install_torch.py
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11, 5) and "Python %d.%d.%d is too old: 3.11.5 or newer is needed (make PYTHON=...)" % v[:3])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; a few minutes)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==0.13.8
	@$(BIN)/python scripts/install_torch.py $(TORCH)
	$(UV) -r requirements.txt
	$(UV) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-* && touch $@

repro: setup ## the paper from the bare clone: data, training, evaluation, report, PDF; STUDIES=full: studies with ten seeds
	@git rev-parse --git-dir >/dev/null 2>&1 || $(BIN)/dvc config --local core.no_scm true
	@test -z "$(STUDIES)" || $(BIN)/python scripts/studies.py "$(STUDIES)"
	@test -t 2 || export TQDM_DISABLE=1; $(BIN)/dvc repro
	@echo "The paper is $(CURDIR)/paper/paper.pdf"

test: setup ## every test: notebooks, pipeline in smoke mode, checks
	@$(BIN)/python -m pytest -q

check: setup ## seconds: layout, export, clean notebooks, README, pipeline files
	@$(BIN)/python -m pytest -q tests/test_repository.py

smoke: setup ## every pipeline notebook with tiny settings, in a scratch folder
	@$(BIN)/python scripts/smoke.py

docs: setup ## the documentation site in _docs/, with results after `make repro`
	@$(BIN)/python scripts/build_docs.py

lab: setup hooks ## JupyterLab; notebooks are cleaned when saved
	@JUPYTER_CONFIG_PATH=$(abspath $(VENV))/.jupyter $(BIN)/jupyter lab nbs

hooks: setup ## nbdev's hooks: clean on save in `make lab`, merge notebooks by cell in git
	@HOME=$(abspath $(VENV)) $(BIN)/nbdev_install_hooks

export: setup ## write the package and README.md from the notebooks
	@$(BIN)/nbdev_export
	@$(BIN)/nbdev_clean
	@$(BIN)/python scripts/readme.py

lock: setup ## requirements.txt from what is installed now
	@{ echo "# Exact versions of what requirements.in asks for (make lock); torch is installed by scripts/install_torch.py."; \
	   $(BIN)/uv pip freeze -q --python $(BIN)/python --exclude-editable | grep -vE '^(torch|pip|uv)=='; } > requirements.txt
