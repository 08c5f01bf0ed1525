"""Which package may import which: walked with `ast`, so that no arrow creeps in."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "topics": set(),
    "gatekeeper": {"topics"},
    "training": {"topics", "gatekeeper"},
    "service": {"topics", "gatekeeper"},
    "deploy": {"service"},
    "ui": set(),
    "benchmarks": set(),
}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_dependencies_point_one_way() -> None:
    seen = 0
    for package, allowed in MAY_IMPORT.items():
        for file in (ROOT / package).rglob("*.py"):
            seen += 1
            wrong = (imported(file) & MAY_IMPORT.keys()) - allowed - {package}
            assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"
    assert seen > 40


def test_heavy_libraries_have_one_door() -> None:
    doors = {"vllm": "service/vllm_engine.py", "peft": "training/model.py"}
    for file in (f for package in MAY_IMPORT for f in (ROOT / package).rglob("*.py")):
        for library, door in doors.items():
            assert library not in imported(file) or str(file.relative_to(ROOT)) == door
