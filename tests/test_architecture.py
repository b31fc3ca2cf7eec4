"""The house has five floors; arrows point downward only."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "audit_lab"
STAGES = {"archive", "sessions", "signals", "judge", "review", "evaluate", "govern", "simulate", "engine"}
UPPER = {
    "cli": 5, "__main__": 6, "lab": 4, "lab_figures": 4, "lab_people": 4,
    "drifting": 3, "experiments": 3, "watching": 3, "cases": 3, "limits": 3, "reviewing": 3,
    "exporting": 3, "proposing": 3, "calibrating": 3, "evaluating": 3, "injecting": 3, "pipeline": 3, "likeness": 3,
    "digests": 3, "holdings": 3, "vectors": 3,
}


def floor(module: str) -> int:
    """6 __main__, 5 cli, 4 lab, 3 pipeline, 2 stages, 1 ground."""
    if module.startswith("cli"):
        return UPPER["cli"]
    return UPPER.get(module, 2 if module in STAGES else 1)


def imports(path: Path) -> set[str]:
    """First names below audit_lab that a module imports at any place in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "audit_lab":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("audit_lab."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("audit_lab.")}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
    return found


def test_arrows_point_downward() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if where == "__init__":
            continue
        for name in imports(path) - {"__version__"}:
            same = name == where
            if floor(name) > floor(where) or (floor(name) == floor(where) == 2 and not same):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_the_ground_floor_has_no_circle() -> None:
    ground = {path.stem: imports(path) for path in PACKAGE.glob("*.py") if floor(path.stem) == 1 and path.stem != "__init__"}
    done: set[str] = set()
    while len(done) < len(ground):
        ready = {name for name, needs in ground.items() if name not in done and (needs & set(ground)) - {name} <= done}
        assert ready, f"circle among {sorted(set(ground) - done)}"
        done |= ready


def test_the_judge_cannot_reach_raw_records() -> None:
    """Law 5: nothing in judge/ opens files of archives or asks for originals."""
    for path in (PACKAGE / "judge").glob("*.py"):
        assert "archive" not in imports(path), path
        assert "read_original" not in path.read_text(encoding="utf-8"), path


def test_no_pickle_and_no_code_from_data() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"pickle", "joblib", "dill", "marshal", "shelve"}, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path
