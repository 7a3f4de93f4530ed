"""The arrows between modules, read off their import statements."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = {"prepare", "train", "evaluate", "score", "select", "annotate", "register", "predict", "report"}
CALLERS = {"active", "judge", "cli", "sweep", "demo"}
READS_MASKS = {"prepare", "annotate", "evaluate", "report", "train", "supervise", "wrong_labels"}
ENGINES = {"ray", "mlflow", "boto3", "pipelines"}


def name_of(path: Path) -> str:
    """A file's dotted module name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, *, package: bool = False) -> set[str]:
    """Everything that a module imports, wherever in it, as dotted names: `from a import b` gives both a and a.b."""
    found: set[str] = set()
    base = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                found.add(str(node.args[0].value))
    return found


MODULES = {
    name_of(path): imports(path.read_text(), name_of(path), package=path.name == "__init__.py")
    for package in ("weakseg", "pipelines")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def pipeline(names: set[str]) -> set[str]:
    """The modules directly below pipelines that are among imported names."""
    return {name.split(".")[1] for name in names if name.startswith("pipelines.")}


def test_imports_are_found_in_every_form():
    source = "import a.b as c\ndef f():\n    from . import d\n    from ..e import g\nimport_module('h.i')\n"
    assert imports(source, "top.sub.here") == {"a.b", "top.sub", "top.sub.d", "top.e", "top.e.g", "h.i"}
    assert imports("from .x import y", "top.sub", package=True) == {"top.sub.x", "top.sub.x.y"}
    assert {"weakseg.errors", "pipelines.cli"} <= set(MODULES)


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] == "weakseg"])
def test_the_library_imports_no_engine_and_no_pipeline(module: str):
    assert not {name.split(".")[0] for name in MODULES[module]} & ENGINES


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] == "pipelines"])
def test_only_the_callers_import_stages(module: str):
    own = module.split(".")[1] if "." in module else ""
    if own not in CALLERS:
        assert not pipeline(MODULES[module]) & (STAGES - {own})


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] == "pipelines"])
def test_only_those_who_may_see_masks_read_them(module: str):
    own = module.split(".")[1] if "." in module else ""
    if own not in READS_MASKS | {"masks"}:
        assert "masks" not in pipeline(MODULES[module])


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] == "pipelines"])
def test_no_stage_imports_a_caller(module: str):
    own = module.split(".")[1] if "." in module else ""
    if own in STAGES:
        assert not pipeline(MODULES[module]) & CALLERS


def test_who_cannot_see_masks_has_no_way_around():
    """Neither through a module that imports the reader: score and select reach it by no chain of imports."""
    reach: dict[str, set[str]] = {
        name: {other for other in MODULES if other in found} for name, found in MODULES.items()
    }
    for start in ("pipelines.score", "pipelines.select"):
        seen: set[str] = set()
        pending = [start]
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += reach.get(name, set())
        assert "pipelines.masks" not in seen
