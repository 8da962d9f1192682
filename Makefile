# `make demo` runs the robot, `make test` tests it. Both set up what they need in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# WHEELS=DIR: all packages come from this folder (`make wheels` fills one). EXTRAS: for example onnx, or sim.
# FORCE=1: upgrade and uninstall stop a robot that is energised.
# MACHINES: how many of the rig's machines run at a time; each needs a processor and 1.5 GB.
MACHINES ?= $(shell nproc)
# TESTS: which ones, for `make test`, in pytest's words: TESTS='-m "not system"'.
# PRESSES: of the e-stop in `make bench-safety`; MINUTES: of simulated time there, for each bad policy.
PRESSES ?= 1000
MINUTES ?= 10
# RUNS: of ten cubes in `make bench-latency`, for each way to run the policy and each latency.
RUNS ?= 6
# KILLS: of the processes that write and keep recordings, in `make bench-spool`.
KILLS ?= 500
# FLAPS: minutes for which the link to the server flaps there; needs root.
FLAPS ?= 10
INSTALLER := systemd/install.py
OPTIONS = $(if $(WHEELS),--wheels '$(WHEELS)') $(if $(filter undefined,$(origin EXTRAS)),,--extras '$(EXTRAS)')

.PHONY: demo test test-peers mutants rig rig-machine lint format bench bench-safety bench-latency bench-spool clean \
	install upgrade uninstall wheels wheels-aarch64
.DEFAULT_GOAL := help

help:
	@echo "make demo    run the simulated arm with 200 ms of inference latency, then the same inline"
	@echo "make test    run all tests"
	@echo "make test-peers   test against the real openpi, LeRobot, rclone and Azurite, each in an environment of its own"
	@echo "make mutants change safety/ in thousands of ways and see that tests notice; FILE=safety/decide.py: docs/mutants.md"
	@echo "make rig     boot a machine and run scenarios in it; SCENARIO=estop_presses runs one: docs/rig.md"
	@echo "make lint    ruff, mypy, import-linter, generated docs"
	@echo "make format  let ruff format the code"
	@echo "make bench   measure; writes tests/bench/results"
	@echo "make bench-safety   press the e-stop 1,000 times, break the loop, run bad policies; PRESSES=100 is quicker"
	@echo "make bench-latency  run the demo's policy in every way, with 0 to 400 ms of latency; RUNS=2 is quicker"
	@echo "make bench-spool    kill what writes and keeps recordings 500 times, flap the link; KILLS=20 FLAPS=1 is quicker"
	@echo "make clean   remove what the others made"
	@echo "make wheels  fetch all packages into WHEELS, for an installation without a network"
	@echo "make install, upgrade, uninstall   as a service of this machine, as root: docs/install.md"

$(VENV)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "reflexd needs Python 3.11 or newer, found %d.%d: try make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/sim: $(VENV)/python pyproject.toml constraints.txt
	$(PIP) -e '.[sim]'
	@touch $@

$(VENV)/dev: $(VENV)/sim
	$(PIP) -e '.[sim,dev]'
	@touch $@

$(VENV)/bench: $(VENV)/dev
	$(PIP) -e '.[sim,dev,bench]'
	@touch $@

demo: $(VENV)/sim
	$(BIN)/reflexd demo
	$(BIN)/reflexd demo --inline

test: $(VENV)/dev
	$(BIN)/python -m pytest -n auto --dist loadgroup $(TESTS)

test-peers: $(VENV)/dev
	tests/peers/install.sh openpi 3.11 3.12
	tests/peers/install.sh lerobot 3.12 3.13
	tests/peers/install.sh rclone 3.11 3.12 3.13
	tests/peers/npm.sh azurite
	$(BIN)/python -m pytest tests/peers

mutants: $(VENV)/dev
	$(BIN)/python -m tests.mutants $(FILE)

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy systemd/install.py .ci/aarch64.py
	$(BIN)/lint-imports
	$(BIN)/python -m runtime.config.document --check docs/configuration.md

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.recording

bench-spool: $(VENV)/dev
	$(BIN)/python -m tests.spool.kills --kills $(KILLS)
	$(BIN)/python -m tests.bench.upload
	$(BIN)/python -m tests.bench.small_disk
	$(BIN)/python -m tests.bench.uplink --minutes $(FLAPS)

bench-safety: $(VENV)/dev
	$(BIN)/python -m tests.bench.safety --presses $(PRESSES)
	$(BIN)/python -m tests.bench.bad_policies --minutes $(MINUTES)

bench-latency: $(VENV)/bench
	$(BIN)/python -m tests.bench.latency --runs $(RUNS)
	$(BIN)/python -m tests.bench.latency.plot
	$(BIN)/python -m tests.bench.latency.remote

install:
	$(PYTHON) $(INSTALLER) install $(OPTIONS)

upgrade:
	$(PYTHON) $(INSTALLER) upgrade $(OPTIONS) $(if $(FORCE),--force)

uninstall:
	$(PYTHON) $(INSTALLER) uninstall $(if $(FORCE),--force)

wheels: $(VENV)/python
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check -c constraints.txt -w '$(or $(WHEELS),wheels)' \
		'.$(if $(EXTRAS),[$(EXTRAS)])' 'hatchling>=1.25'

rig-machine: $(VENV)/dev
	$(BIN)/python -m tests.rig.harness.build

rig: rig-machine
	$(BIN)/python -m pytest -n $(MACHINES) --maxschedchunk 1 $(if $(SCENARIO),tests/rig/test_$(SCENARIO).py,tests/rig) \
		$(if $(SKIP),--ignore tests/rig/test_$(SKIP).py)

wheels-aarch64: $(VENV)/dev
	$(BIN)/python .ci/aarch64.py

clean:
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .mutants dist build tests/bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
