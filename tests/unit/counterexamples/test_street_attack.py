"""The attack on a SqueezeDet by real streets: feasible, boxes follow, rendered again."""

import pytest
import torch

from offline.counterexamples import preset
from offline.counterexamples.streets.detection import attack_detector
from offline.counterexamples.streets.feasible import every, street_sets, within_kerbs
from offline.detection import SqueezeDet, StreetSetSettings, truths_of
from offline.rendering.streets import StreetSettings, sample_streets

SIZE = (64, 128)
STREET = StreetSettings(subjects=("car",), field_of_view=(26.0, 32.0), vehicles=2, length=50.0)
STREETS = StreetSetSettings(size=SIZE, samples=1, least_pixels=12, street=STREET)


@pytest.fixture(scope="module")
def detector() -> SqueezeDet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        shapes = ((12.0, 10.0), (30.0, 20.0), (50.0, 40.0))
        return SqueezeDet(STREETS.classes, SIZE, shapes, width=0.25, stride=8, dropout=0.0).eval()


@pytest.mark.parametrize("names", [("translate", "rotate", "mesh"), ("weather", "foliage")])
def test_streets_are_attacked_within_their_feasible_set_and_rendered_again(
    names: tuple[str, ...], detector: SqueezeDet
) -> None:
    scenes = sample_streets(3, torch.Generator().manual_seed(8), SIZE, STREET)
    settings = preset("squeezedet")
    settings = settings.model_copy(
        update={"steps": {name: settings.steps[name] for name in names}, "iterations": 2}
    )
    sets, renderer = street_sets(*SIZE), STREETS.renderer()

    def truths(moved):
        return truths_of(moved, STREETS)

    # A new detector is sure of nothing: at a threshold of 0 its many boxes find some objects.
    found = attack_detector(
        renderer,
        detector,
        scenes,
        truths,
        settings,
        feasible=sets,
        project=within_kerbs,
        threshold=0.0,
    )
    going = ~found.already_missed
    assert going.any()
    assert every(*sets)(found.after).all()
    images = renderer.render(found.after)
    with torch.no_grad():
        loss = detector.doubt(images, truths(found.after))
    torch.testing.assert_close(found.loss[:, -1], loss, atol=1e-3, rtol=1e-3)
    again = (images * 255).round().to(torch.uint8)
    difference = (again.int() - found.images_after.int()).abs()
    assert int(difference.max()) <= 1
    boxes = [truth.boxes for truth in truths(found.after)]
    for old, new in zip(boxes, (truth.boxes for truth in found.truths_after), strict=True):
        torch.testing.assert_close(old, new)
    first = going.nonzero()[0, 0]
    moved = not torch.equal(found.after.translation[first], scenes.translation[first])
    assert moved == ("translate" in names)
