# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything here needs root on Debian 12 or newer with Python 3, and installs the rest itself.

PYTHON ?= python3
BACKEND ?= nftables
LOOPBACK ?= nat proxy
ARGS ?=
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
COLLECTION := .ansible/collections/ansible_collections/bridgeport/net

export ANSIBLE_HOME := $(CURDIR)/.ansible
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.ansible/collections
export PATH := $(BIN):$(PATH)
export LC_ALL := C.UTF-8

.PHONY: help setup test test-fast lint types unit fuzz lab matrix faults bench sanity molecule molecule-short molecule-nspawn molecule-down demo demo-down build clean

help:
	@echo "make test       everything: lint, types, unit tests, lab, sanity, scenarios in virtual machines; most of an hour"
	@echo "make test-fast  all but the virtual machines: the scenarios run on systemd-nspawn"
	@echo "make demo       the articles' walk-through on two machines made of namespaces; make demo-down removes them"
	@echo "make lint | types | sanity | unit | fuzz | lab | molecule | molecule-nspawn     one part of the tests"
	@echo "make molecule SCENARIO=reboot SUITE=trixie     one scenario on one Debian release"
	@echo "make matrix     who reaches what, in full, beside Docker; BACKEND=nftables|iptables-nft|iptables-legacy"
	@echo "make faults     runs that are killed, refused or not alone, in full; SEED=number repeats the kills at random"
	@echo "make bench      speed and memory beside Docker and others, in half an hour; ARGS=\"--only publish --rounds 5\""
	@echo "make build      the collection's tarball in dist/"
	@echo "make clean      remove what was installed and built here"

setup: $(VENV)/.ready $(COLLECTION)

$(VENV)/.ready: tests/requirements.txt tests/packages.txt tests/install-packages.sh
	sh tests/install-packages.sh tests/packages.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	touch $@

# Ansible finds the checkout itself as the installed collection: no build, no copy, no Galaxy.
$(COLLECTION):
	mkdir -p $(dir $@)
	ln -sfn ../../../.. $@

test: setup
	sh tests/run-all.sh lint types unit fuzz lab sanity molecule-short

test-fast: setup
	sh tests/run-all.sh lint types unit fuzz lab sanity molecule-nspawn

lint: setup
	ruff check .
	ruff format --check .
	ansible-lint --offline --profile production
	antsibull-changelog lint

types: setup
	MYPYPATH=$(ANSIBLE_COLLECTIONS_PATH):tests/lab:tests mypy
	MYPYPATH=$(ANSIBLE_COLLECTIONS_PATH):tests/lab:tests/unit:tests/fuzz:tests mypy tests/lab/*.py tests/demo/demo.py
	MYPYPATH=$(ANSIBLE_COLLECTIONS_PATH):tests/unit mypy tests/unit/*.py
	MYPYPATH=$(ANSIBLE_COLLECTIONS_PATH):tests/unit:tests/fuzz mypy tests/fuzz/*.py

unit: setup
	PYTHONPATH=$(ANSIBLE_COLLECTIONS_PATH) python -m pytest -q tests/unit

# FUZZ_SCALE=100 runs a hundred times as many cases, and other ones each time.
fuzz: setup
	PYTHONPATH=$(ANSIBLE_COLLECTIONS_PATH) python -m pytest -q tests/fuzz

lab: setup .cache/docker .cache/peers
	python -m pytest -q --numprocesses 3 --dist loadgroup tests/lab

matrix: setup .cache/docker
	PYTHONPATH=tests/lab python -m matrix --backend $(BACKEND) --loopback $(LOOPBACK) --docker .cache/docker

faults: setup
	PYTHONPATH=tests/lab python -m faults $(addprefix --seed ,$(SEED))
	$(MAKE) --no-print-directory fuzz

bench: setup .cache/docker .cache/peers
	PYTHONPATH=tests:tests/lab python -m bench $(ARGS)

# Unpacked, not installed: nothing is started, and no network of this machine is touched.
.cache/docker .cache/peers: .cache/%: tests/packages-%.txt tests/unpack-packages.sh
	rm -rf $@ $@.new
	sh tests/unpack-packages.sh $< $@.new
	mv $@.new $@

sanity: setup
	sh tests/sanity.sh

molecule: setup
	python tests/lab/scenarios.py --tier vm $(addprefix --suite ,$(SUITE)) $(SCENARIO)

# What the time of every test run allows: on Debian 12 all but the longest, which systemd-nspawn does for it, and on
# Debian 13 the one with everything and a reboot.
molecule-short: setup
	python tests/lab/scenarios.py --tier vm $(addprefix bookworm/,default existing iptables reboot) trixie/reboot
	python tests/lab/scenarios.py --tier nspawn bookworm/coexistence

molecule-nspawn: setup
	python tests/lab/scenarios.py --tier nspawn $(addprefix --suite ,$(SUITE)) $(SCENARIO)

molecule-down: setup
	python tests/lab/machines.py down $(wildcard .cache/molecule/*)

demo: setup
	python tests/demo/demo.py up

demo-down: setup
	python tests/demo/demo.py down

build: setup
	ansible-galaxy collection build --force --output-path dist .

clean: $(if $(wildcard $(VENV)/.ready),demo-down molecule-down)
	rm -rf .venv .cache .ansible dist tests/output .mypy_cache .ruff_cache .pytest_cache .hypothesis
