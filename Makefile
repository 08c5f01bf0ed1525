# Docent. `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

TOPIC ?= $(or $(DOCENT_TOPIC),ho_chi_minh)
RECIPE ?= museum_mini
BASE ?=
RELEASE_ALL ?=
PYTHON ?= python3.11
# The lock follows the machine: an NVIDIA driver means the GPU lock. DEVICE=cpu or DEVICE=gpu overrides.
DEVICE ?= $(shell [ -e /proc/driver/nvidia/version ] && echo gpu || echo cpu)

VENV := .venv
PY := $(VENV)/bin/python
LOCK := deploy/locks/$(DEVICE).txt
STAMP := $(VENV)/installed-$(DEVICE)
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help install kiosk serve ui test check fix train-adapter releases promote rollback ship-adapter train-gatekeeper publish-facts mini-base bench bench-load soak lock browser

help:             ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## the environment in .venv, from the lock; does nothing when it is there

$(STAMP): $(LOCK) deploy/install.sh
	@bash deploy/install.sh $(PYTHON) $(VENV) $(LOCK)
	@rm -f $(VENV)/installed-* && touch $@

kiosk: install    ## the guide in a browser: makes a release if there is none, starts service and kiosk
	@$(PY) -m training release --if-missing --topic $(TOPIC) --recipe $(RECIPE)
	@DOCENT_TOPIC=$(TOPIC) exec $(PY) deploy/kiosk.py

serve: install    ## the service alone (port 8000)
	@DOCENT_TOPIC=$(TOPIC) exec $(PY) -m service

ui: install       ## the kiosk alone (port 7860); wants a service
	@exec $(PY) -m ui

# glibc gives large blocks back to the kernel and asks for them again at every step of training.
train-adapter ship-adapter: export MALLOC_MMAP_THRESHOLD_ = 4294967296
train-adapter ship-adapter: export MALLOC_TRIM_THRESHOLD_ = 8589934592

train-adapter: install ## questions to a release, live unless it is worse than the one before: make train-adapter TOPIC=… RECIPE=… BASE=… FROM=shipped|base EPOCHS=… SEEDS=… (RELEASE_ALL=1 trains held-out wordings too)
	@$(PY) -m training release --topic $(TOPIC) --recipe $(RECIPE) $(if $(BASE),--base $(BASE)) $(if $(FROM),--from $(FROM)) $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(RELEASE_ALL),--all)

releases: install ## the topic's releases: which is live, since when, and how they score
	@$(PY) -m training releases --topic $(TOPIC)

promote: install  ## serve a release: make promote RELEASE=…
	@test -n "$(RELEASE)" || { echo "make promote: say which, RELEASE=…; make releases lists them"; exit 2; }
	@$(PY) -m training promote --topic $(TOPIC) --release $(RELEASE)

rollback: install ## serve the release again that was live before
	@$(PY) -m training rollback --topic $(TOPIC)

ship-adapter: install ## the default topic's adapter for the repository, trained on everything it knows
	@$(PY) -m training ship --topic $(TOPIC) --recipe $(RECIPE) $(if $(FROM),--from $(FROM)) $(if $(EPOCHS),--epochs $(EPOCHS))

train-gatekeeper: install ## a new gate and evidence on the live weights, in two minutes (ENCODER=DIR adds a second opinion)
	@$(PY) -m training gate --topic $(TOPIC) $(if $(ENCODER),--encoder $(ENCODER))

publish-facts: install ## correct or withdraw a fact at once: facts and decided answers of the live release, without training
	@$(PY) -m training publish --topic $(TOPIC)

mini-base: install ## the embedded base model anew from a folder of *.txt: make mini-base TEXT=DIR
	@test -n "$(TEXT)" || { echo "make mini-base: give a folder of running text, TEXT=DIR"; exit 2; }
	@$(PY) -m training mini --text $(TEXT) --out models/mini

browser:          ## Chromium for the kiosk's tests, from the system's packages
	@bash deploy/browser.sh

test: install browser ## the whole test suite, real parts included
	@$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile

check: install    ## lint, types, the topic's questions; changes nothing
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(PY) -m topics lint --topic $(TOPIC)

fix: install      ## format and mend what can be mended
	@$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

bench: install    ## answers and speed of a running service (make kiosk, in another terminal), into benchmarks/results
	@$(PY) benchmarks/answers.py --topic topics/$(TOPIC)
	@$(PY) benchmarks/first_word.py --topic topics/$(TOPIC)

bench-load: install ## the service under load, beside plain vLLM: make bench-load WHAT=throughput (or mix, declined, overload, soak, leave, kill)
	@$(PY) benchmarks/load.py $(or $(WHAT),throughput) --topic topics/$(TOPIC) --release releases/$(TOPIC)/live

soak: install     ## a running kiosk for an hour, a visit a minute: does it wear out? MINUTES=… PID=… of the kiosk
	@$(PY) benchmarks/screen.py --soak $(or $(MINUTES),60) $(if $(PID),--pid $(PID))

lock: install     ## both lock files anew from pyproject.toml (needs a network)
	@$(VENV)/bin/pip install --quiet uv && PATH="$$PWD/$(VENV)/bin:$$PATH" $(PY) deploy/lock.py
