"""Data flows one way: offline → export → guard; an edge box needs none of the toolchain."""

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.serving.tiny_bundle import write_bundle

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "sklearn", "scipy", "onnx", "joblib", "jaxtyping", "safetensors"}
MODULES = sorted(
    path
    for package in ("guard", "offline", "export")
    for path in (ROOT / package).rglob("*.py")
    if not path.stem.endswith(("_pb2", "_pb2_grpc"))
)
# What an edge box runs: everything in guard but the torch modules that become the graph.
TORCH_MODULES = {"probes", "one_class_svm", "validators", "deep_validation", "guarded"}
EDGE = [
    path
    for path in MODULES
    if path.relative_to(ROOT).parts[0] == "guard" and path.stem not in TORCH_MODULES
]


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def test_guard_and_export_import_nothing_upstream() -> None:
    for path in MODULES:
        package = path.relative_to(ROOT).parts[0]
        forbidden = {"guard": {"offline", "export"}, "export": {"offline"}}.get(package, set())
        assert not imported(path) & forbidden, path


def test_what_an_edge_box_runs_imports_none_of_the_toolchain() -> None:
    assert len(EDGE) > 15
    for path in EDGE:
        assert not imported(path) & (HEAVY | {"offline", "export"}), path


def test_guard_reaches_the_toolchain_by_name_in_one_place() -> None:
    assert [path.name for path in EDGE if "import_module" in path.read_text()] == ["toolchain.py"]


def without_the_toolchain(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where nothing of the toolchain is installed."""
    program = (
        "import sys\n"
        f"heavy = {sorted(HEAVY)!r}\n"
        "sys.modules.update(dict.fromkeys(heavy))\n"  # importing any of them now fails
        "import guard.cli, guard.client, guard.serving.server, guard.serving.local\n"
        "sys.argv[0] = 'cornerguard'\n"
        "guard.cli.main()\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_starts_and_checks_without_the_toolchain(tmp_path: Path) -> None:
    bundle, image = write_bundle(tmp_path / "bundle"), tmp_path / "dark.png"
    Image.new("RGB", (8, 8), (51, 51, 51)).save(image)
    checked = without_the_toolchain("check", str(bundle), str(image), "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["verdict"] == "VALID"
    for asked in (("fit", "mnist"), ("inspect", str(bundle))):
        ended = without_the_toolchain(*asked)
        assert ended.returncode == 2, ended.stderr
        assert "needs the whole toolchain" in ended.stderr


@pytest.mark.parametrize("package", ["guard", "offline", "export"])
def test_every_public_name_is_there(package: str) -> None:
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if module.name.endswith(("__main__", "_pb2", "_pb2_grpc")):
            continue
        loaded = importlib.import_module(module.name)
        assert isinstance(loaded.__all__, list), module.name
        missing = [name for name in loaded.__all__ if not hasattr(loaded, name)]
        assert not missing, (module.name, missing)
