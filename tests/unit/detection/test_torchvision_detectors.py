"""torchvision's detectors behind the protocol: their own losses, image by image."""

from pathlib import Path

import pytest
import torch
from torch import nn

from guard.errors import BadInput
from offline.detection.detector import Truth
from offline.detection.torchvision_detectors import (
    NETWORKS,
    TorchvisionDetector,
    pretrained_detector,
    torchvision_detector,
)
from offline.models import save_weights

SIZE = (64, 96)
TRUTHS = [
    Truth(torch.tensor([[5.0, 8, 45, 40], [60, 20, 90, 60]]), torch.tensor([1, 0])),
    Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
]


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def detector(request: pytest.FixtureRequest) -> TorchvisionDetector:
    """In eval mode, with the statistics of its batch normalisation those of some images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = torchvision_detector(request.param, ("car", "bus"), SIZE)
        norms = [each for each in made.modules() if isinstance(each, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        made.train()
        made.losses(some(2), TRUTHS)
    return made.eval()


def some(count: int) -> torch.Tensor:
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def own_losses(detector: TorchvisionDetector, number: int) -> dict[str, torch.Tensor]:
    """What torchvision itself says in training mode, without the layers' being in it."""
    model = detector.model
    boxes, labels = TRUTHS[number]
    model.train()
    model.transform.eval()  # in training it draws one of the sizes, of which there is one
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d | nn.Dropout):
            each.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        losses = model([some(2)[number]], [{"boxes": boxes, "labels": labels + 1}])
    model.eval()
    return losses


def test_losses_are_torchvision_s_own_of_each_image(detector: TorchvisionDetector) -> None:
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    for number in range(2):
        ours = detector.losses(some(2)[number : number + 1], TRUTHS[number : number + 1])
        own = own_losses(detector, number)
        boxes = [own.pop(name) for name in list(own) if name.endswith(("_reg", "_regression"))]
        rest = list(own.values())
        assert 1 <= len(boxes) == len(rest)
        torch.testing.assert_close(ours["box"][0], sum(boxes))
        torch.testing.assert_close(ours["confidence"][0], sum(rest))
        assert ours["classification"].tolist() == [0]
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert not any(each.training for each in detector.modules())


def test_losses_depend_on_their_image_alone_and_are_differentiable(
    detector: TorchvisionDetector,
) -> None:
    images = some(2).requires_grad_()
    losses = detector.losses(images, TRUTHS)
    assert all(value.shape == (2,) for value in losses.values())
    for name in ("box", "confidence"):
        (gradient,) = torch.autograd.grad(losses[name][0], images, retain_graph=True)
        assert gradient[0].abs().max() > 0
        assert gradient[1].abs().max() == 0


def test_what_is_found_are_classes_without_the_background(detector: TorchvisionDetector) -> None:
    found = detector.detect(some(2), least_score=0.008)
    assert len(found) == 2
    assert sum(len(each.scores) for each in found)
    for boxes, labels, scores in found:
        assert set(labels.tolist()) <= {0, 1}
        assert (scores >= 0.008).all()
        assert (scores.diff() <= 0).all()
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([96, 64, 96, 64])).all()


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    name = "ssdlite320_mobilenet_v3_large"
    one = torchvision_detector(name, ("car", "bus"), SIZE)
    save_weights(one, tmp_path / "weights.safetensors")
    two = torchvision_detector(name, ("car", "bus"), SIZE, tmp_path / "weights.safetensors")
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
    with pytest.raises(BadInput, match="does not fit the model"):
        torchvision_detector(name, ("car",), SIZE, tmp_path / "weights.safetensors")


def test_names_that_torchvision_does_not_know_are_refused() -> None:
    with pytest.raises(BadInput, match="no detector 'ssdlite_mobilenet'; did you mean 'ssdlite320"):
        torchvision_detector("ssdlite_mobilenet", ("car",), SIZE)
    with pytest.raises(BadInput, match=r"no weights 'COCO' of retinanet.*did you mean 'COCO_V1'"):
        pretrained_detector("retinanet_resnet50_fpn", SIZE, "COCO")
