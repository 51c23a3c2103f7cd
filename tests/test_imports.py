"""The one-way rule of the house: a room never imports one to its left."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "interbert"

LEFT_TO_RIGHT = [
    {"__main__", "cli", "doctor"},
    {"recall", "reproduce", "sample"},
    {"recipes", "task_recipes", "scoring"},
    {"tasks", "pretraining"},
    {"training", "weights", "corpus"},
    {"model", "vision", "text"},
    {"batch", "config", "settings"},
    {"metrics", "vision.boxes", "vision.images", "vision.provenance", "files", "errors", "webpage"}
    | {"workers", "cluster", "draws", "sqlite_file"},
]
MODEL_MAY_IMPORT = {"torch", "batch", "config", "errors", "vision.boxes", "model"}
SAVING_MAY_IMPORT = MODEL_MAY_IMPORT | {"huggingface_hub", "safetensors", "files"}  # model/pretrained.py, and it alone
FRONT_DOOR = SOURCE / "__init__.py"  # names every room, for type checkers and when a name is first used


def room_of(module: str) -> str:
    """The room of a dotted name below `interbert`: its first part, or two where the two stand in the list."""
    parts = module.split(".")
    two = ".".join(parts[:2])
    return two if any(two in rooms for rooms in LEFT_TO_RIGHT) else parts[0]


def place(room: str) -> int:
    for at, rooms in enumerate(LEFT_TO_RIGHT):
        if room in rooms:
            return at
    raise AssertionError(f"room '{room}' has no place in LEFT_TO_RIGHT: give it one")


def imports(path: Path) -> list[str]:
    """Every module a file of the package imports."""
    return list(imported(path.read_text(encoding="utf-8"), ["interbert", *path.relative_to(SOURCE).parent.parts]))


def imported(code: str, package: list[str]) -> Iterator[str]:
    """Every module that `code` imports, wherever in it; relative imports are resolved in `package`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != FRONT_DOOR)


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_room_never_imports_one_to_its_left(path: Path) -> None:
    here = place(room_of(name_of(path)))
    for module in imports(path):
        if module.startswith("interbert."):
            there = room_of(module.removeprefix("interbert."))
            assert place(there) >= here, f"{name_of(path)} imports {module}, which stands to its left"


@pytest.mark.parametrize("path", sorted((SOURCE / "model").glob("*.py")), ids=name_of)
def test_the_model_can_be_read_alone(path: Path) -> None:
    allowed = SAVING_MAY_IMPORT if path.stem == "pretrained" else MODEL_MAY_IMPORT
    for module in imports(path):
        top = module.split(".")[0]
        known = room_of(module.removeprefix("interbert.")) if top == "interbert" else top
        assert known in allowed or top in sys.stdlib_module_names, f"{name_of(path)} imports {module}"


def test_imports_inside_a_function_and_relative_ones_are_seen() -> None:
    code = "import json\ndef late():\n    from interbert.cli import main\n    from ..scoring.scorer import load\n"
    assert list(imported(code, ["interbert", "model"])) == ["json", "interbert.cli", "interbert.scoring.scorer"]
