"""The example client says what `cornerguard check` says, where neither torch nor cornerguard is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guard.serving.local import check_files
from tests.unit.serving.tiny_bundle import image_of, write_bundle

CLIENT = Path(__file__).parents[3] / "export" / "examples" / "client.py"
ALONE = """
import importlib.abc, runpy, sys

class OnlyThese(importlib.abc.MetaPathFinder):
    allowed = {"numpy", "onnxruntime", "PIL", *sys.stdlib_module_names}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, OnlyThese())
for missing in ("torch", "guard", "export", "pydantic"):
    try:
        __import__(missing)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{missing} can be imported")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def client(*arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", ALONE, str(CLIENT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Valid, a corner case, one whose score is no number; of another size; turned; grey."""
    paths = []
    for name, level in (("valid", 0.2), ("odd", 0.8), ("bright", 0.95)):
        pixels = (image_of(level).transpose(1, 2, 0) * 255).round().astype(np.uint8)
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(pixels).save(paths[-1])
    draw = np.random.default_rng(0)
    large = Image.fromarray(draw.integers(0, 200, (12, 20, 3), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    large.save(tmp_path / "turned.jpg", exif=turned)
    large.convert("L").save(tmp_path / "grey.png")
    return [*paths, tmp_path / "turned.jpg", tmp_path / "grey.png"]


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (None, None)])
def test_it_says_what_the_command_says(
    tmp_path: Path, photos: list[Path], size: tuple[int | None, int | None]
) -> None:
    bundle = write_bundle(tmp_path / "bundle", *size)
    asked = client(bundle, *photos)
    assert asked.returncode == 0, asked.stderr
    verdicts = [verdict for _, verdict in check_files(bundle, photos)]
    assert [verdict.verdict for verdict in verdicts][:3] == ["VALID", "CORNER_CASE", "UNVERIFIED"]
    for line, photo, expected in zip(asked.stdout.splitlines(), photos, verdicts, strict=True):
        path, verdict, name, p_value = line.split(" ")
        assert (Path(path), verdict) == (photo, expected.verdict)
        if verdict != "UNVERIFIED":
            assert name == expected.class_name
            assert float(p_value.removeprefix("p=")) == pytest.approx(expected.p_value, rel=1e-3)


def test_it_refuses_an_altered_graph(tmp_path: Path, photos: list[Path]) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    graph = bundle / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    asked = client(bundle, *photos)
    assert asked.returncode == 1
    assert asked.stderr.strip() == f"{graph}: is altered"
