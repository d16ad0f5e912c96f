"""redner's worker: killed, hanging, orphaned; its environment, and what is said without one."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from guard.errors import BadInput, CornerguardError
from offline.rendering.composing import single
from offline.rendering.procedural.parts import assemble, ball
from offline.rendering.redner import Redner, environment, install, missing
from offline.rendering.redner.process import WorkerProcess
from offline.rendering.scene import Scene

LACKING = missing()
installed = pytest.mark.usefixtures("redner_here")
WORKER = Path(environment.__file__).with_name("worker")


@pytest.fixture
def redner_here() -> None:
    """Skip by one line of this file, so that the summary says it once."""
    if LACKING is not None:
        pytest.skip(f"redner: {LACKING}")


def scene() -> Scene:
    return single([assemble("egg", [ball((0.9, 0.7, 0.5), (0.8, 0.4, 0.2), 5, 8)])])


def gone(pid: int) -> bool:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


@installed
def test_a_worker_killed_before_the_way_back_draws_again() -> None:
    with Redner(24, 24) as renderer:
        gradients = []
        for kill in (False, True):
            pose = scene().pose.requires_grad_()
            image = renderer.render(scene().replace(pose=pose))
            first = renderer.pid
            assert first is not None
            if kill:
                os.kill(first, signal.SIGKILL)
            gradients.append(torch.autograd.grad(image.square().sum(), pose)[0])
        assert renderer.pid != first
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)
        assert gradients[0].abs().sum() > 0


@installed
def test_a_request_that_ends_two_workers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = WorkerProcess.ask
    lives = []

    def killed(self: WorkerProcess, request: dict[str, object], seconds: float) -> None:
        lives.append(self.process.pid)
        self.process.kill()
        self.process.wait()
        asked(self, request, seconds)

    with Redner(24, 24) as renderer:
        monkeypatch.setattr(WorkerProcess, "ask", killed)
        with pytest.raises(CornerguardError, match="ended twice"):
            renderer.render(scene())
        assert len(set(lives)) == 2
        monkeypatch.undo()
        assert renderer.render(scene()).isfinite().all()


@installed
def test_a_worker_that_hangs_is_an_error_and_is_ended() -> None:
    with Redner(24, 24, seconds=3.0) as renderer:
        renderer.render(scene())
        pid = renderer.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(CornerguardError, match="within 3 s"):
            renderer.render(scene())
        assert gone(pid)


@installed
def test_nothing_is_left_of_a_renderer_that_is_closed_or_whose_process_is_killed() -> None:
    renderer = Redner(16, 16)
    renderer.render(scene())
    pid = renderer.pid
    assert pid is not None
    before = len(list(Path("/proc/self/fd").iterdir()))
    renderer.close()
    assert gone(pid)
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 2
    program = (
        "from tests.unit.rendering.test_redner_worker import scene\n"
        "from offline.rendering.redner import Redner\n"
        "renderer = Redner(16, 16)\n"
        "renderer.render(scene())\n"
        "print(renderer.pid, flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        parent.kill()
    assert gone(orphan)


def test_the_worker_is_python_38() -> None:
    for path in sorted(WORKER.glob("*.py")):
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith(("offline", "guard")), path


def test_without_an_environment_one_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CornerguardError, match="cornerguard renderer install redner"):
        Redner(16, 16, folder=tmp_path)
    (tmp_path / "pyvenv.cfg").write_text("half made")
    assert "no environment" in (missing(tmp_path) or "")


def test_without_a_python_38_one_line_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(CornerguardError, match=r"no Python 3\.8.*pyenv install 3\.8"):
        install(folder=tmp_path / "redner")
    assert not (tmp_path / "redner").exists()


def test_another_python_and_a_folder_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"not a Python 3\.8"):
        install(Path(sys.executable), tmp_path / "redner")
    python = environment.find_python()
    (tmp_path / "kept.txt").write_text("mine")
    if python is not None:
        with pytest.raises(BadInput, match="holds something else"):
            install(python, tmp_path)
    assert (tmp_path / "kept.txt").read_text() == "mine"
