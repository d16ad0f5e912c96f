"""No file of a bundle says where on the exporting machine anything lay."""

from functools import partial
from pathlib import Path

import pytest
import torch
from export_samples import CLASSES, FEW, fitted
from machine_places import found_in
from signing_keys import write_keys
from torch import nn

from export import Calibration, ExportSettings, export_bundle
from offline.fitting import calibrate_on


class Own(nn.Module):
    """A user's own code, in a file of the user's."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
        self.head = nn.Linear(4, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).amax((2, 3)))


def test_no_file_names_a_place_of_the_machine(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = FEW.model_copy(update={"layers": ("body.1", "energy")})
    guarded, images = fitted(Own(), (3, 16, 16), settings)
    again = partial(calibrate_on, classes=CLASSES, settings=settings, seed=0)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("<p>figures</p>")
    folder = tmp_path / "bundle"
    manifest = export_bundle(
        guarded,
        folder,
        class_names=CLASSES,
        images=images,
        data_fingerprint="f" * 64,
        settings=ExportSettings(
            formats=("torchscript", "torch_export"),
            precisions=("float16", "bfloat16", "int8"),
            least_agreement=0.5,
            signing_key=write_keys(tmp_path / "keys").private,
        ),
        calibration=Calibration(images, again),
        report=tmp_path / "report",
    )
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 2 + len(manifest.files) == 9
    assert [found for path in files for found in found_in(path)] == []
    assert set(manifest.parity) == {"model.onnx", "model.ts", "model.pt2"}


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_what_torch_writes_by_itself_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "raw.ts"
    torch.jit.save(torch.jit.trace(Own(), torch.zeros(1, 3, 16, 16)), str(path))
    assert {name.rpartition(".")[2] for name, _ in found_in(path)} >= {"debug_pkl"}
