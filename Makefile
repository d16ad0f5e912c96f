# Each target creates what it needs first. PYTHON=python3.12 make … chooses another interpreter.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 2

PROTOS := $(addprefix guard/serving/protocol/,model_config.proto extensions.proto inference.proto guard.proto)

.PHONY: setup demo test lint format protos clean
.DEFAULT_GOAL := setup

setup: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[offline,dev]'
	# It asks for a requests of 2021, which it never imports and which rules out today's urllib3.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'torchattacks>=3.5.1'
	touch $@

demo: setup  ## the whole job on rendered objects; the report is runs/demo/report/index.html
	$(BIN)/cornerguard demo

test: setup
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

protos: setup  ## the generated code is checked in; a test says when it is stale
	$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

clean:
	rm -rf .venv runs dist .mypy_cache .pytest_cache .ruff_cache
