"""redner's environment: a Python 3.8 with the packages that redner's last release was built for."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from guard.errors import BadInput, CornerguardError
from guard.storage import write_text

__all__ = ["HOME_VARIABLE", "PACKAGES", "find_python", "home", "install", "missing", "python_of"]

HOME_VARIABLE = "CORNERGUARD_REDNER"
PACKAGES = ("redner==0.4.28", "torch==1.12.1", "numpy==1.23.5", "scikit-image==0.21.0")
VERSION = "3.8"
_MARK = "rendered"  # written last, after an image was rendered: without it nothing is whole
_HINT = "install it with `cornerguard renderer install redner`"
_CHECK = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
import drawing
scene = {
    "vertices": torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]], requires_grad=True),
    "faces": torch.tensor([[0, 1, 2]], dtype=torch.int32),
    "colours": torch.ones(1, 3), "position": torch.tensor([0.0, 0, 3]),
    "target": torch.zeros(3), "up": torch.tensor([0.0, 1, 0]), "field": torch.tensor([60.0]),
    "light": torch.tensor([0.0, 0, 1, 0.5, 0.5, 0.5]), "environment": torch.zeros(9, 3),
}
image = drawing.draw(scene, (16, 16), 2, 0)
image.sum().backward()
assert abs(float(image[0, 8, 8]) - 0.5) < 0.01, image[:, 8, 8]
assert float(scene["vertices"].grad.abs().sum()) > 0
"""


def home() -> Path:
    """Return the folder of the environment: $CORNERGUARD_REDNER, or one of the user's data."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "cornerguard" / "redner"


def python_of(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin" / "python"


def missing(folder: Path | None = None) -> str | None:
    """Say what is missing for redner and what to do; None: it is ready."""
    folder = folder or home()
    if not (folder / _MARK).is_file():
        return f"no environment at {folder}: {_HINT}"
    if (folder / _MARK).read_text() != _marked():
        return f"the environment at {folder} is of other versions: {_HINT}"
    if not python_of(folder).exists():
        return f"the Python {VERSION} of the environment at {folder} is gone: {_HINT}"
    return None


def install(python: Path | None = None, folder: Path | None = None) -> Path:
    """Make the environment, if it is not there, and render with it; return its folder.

    What a killed installation leaves behind is never taken for whole, and is made anew.

    Args:
        python: a Python 3.8; one is looked for where it is left out.
        folder: of the environment; see `home`.

    Raises:
        BadInput: that is no Python 3.8, or the folder holds something else.
        CornerguardError: there is no Python 3.8, or the packages do not install or render.
    """
    folder = folder or home()
    if missing(folder) is None:
        return folder
    chosen = find_python() if python is None else python
    if python is not None and not _is_right(python):
        raise BadInput(f"{python}: not a Python {VERSION}, the last that redner has wheels for")
    if chosen is None:
        raise CornerguardError(
            f"no Python {VERSION}, the last that redner has wheels for: `pyenv install 3.8`, "
            "`uv python install 3.8` or `conda create -n redner python=3.8` brings it, "
            "or name one with --python"
        )
    if folder.exists() and not (folder / "pyvenv.cfg").is_file() and any(folder.iterdir()):
        raise BadInput(f"{folder}: holds something else; a new or empty folder is wanted")
    shutil.rmtree(folder, ignore_errors=True)
    _run([chosen, "-m", "venv", folder], "makes no environment")
    own = python_of(folder)
    packages: list[str | Path] = [
        own,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    _run([*packages, *PACKAGES], "does not install redner")
    _run([own, "-I", "-c", _CHECK, Path(__file__).with_name("worker")], "does not render")
    write_text(folder / _MARK, _marked())
    return folder


def find_python() -> Path | None:
    """Return a Python 3.8: on the PATH, or one that pyenv, uv, conda or mamba installed."""
    return next((path for path in _candidates() if _is_right(path)), None)


def _candidates() -> Iterator[Path]:
    if sys.version_info[:2] == (3, 8):
        yield Path(sys.executable)
    found = shutil.which(f"python{VERSION}")
    if found:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{VERSION}.*/bin/python"), reverse=True)
    uv = shutil.which("uv")
    if uv:
        said = _said([uv, "python", "find", "--no-python-downloads", VERSION])
        yield from (Path(line) for line in said.splitlines())
    for name in ("conda", "mamba"):
        manager = shutil.which(name)
        if manager:
            said = _said([manager, "env", "list"])
            yield from (Path(line.split()[-1]) / "bin/python" for line in said.splitlines() if line)


def _is_right(python: Path) -> bool:
    if not python.is_file():
        return False
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    return _said([python, "-I", "-c", program]).strip() == VERSION


def _said(command: Sequence[str | Path]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _run(command: Sequence[str | Path], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        last = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
        raise CornerguardError(f"{command[0]} {what}: {last.strip()[:300]}")


def _marked() -> str:
    return " ".join(PACKAGES) + "\n"
