import json
from itertools import combinations

import pytest
import torch
from torch import nn

from guard.errors import BadInput
from guard.settings import parse_settings
from offline.corner_cases import (
    TRANSFORMATIONS,
    CornerCaseSettings,
    Deformation,
    Seeds,
    find_corner_cases,
    seed_images,
)
from offline.corner_cases.prediction import predict
from offline.datasets import ArrayImages


class BrightAbove(nn.Module):
    """Calls an image class 1 when its mean is above a limit, with one pass of arithmetic."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.register_buffer("limit", torch.tensor(limit))

    def forward(self, images):
        margin = images.mean(dim=(1, 2, 3)) - self.limit
        return torch.stack([-margin, margin], dim=1)


def ramp(count: int = 20) -> Seeds:
    """Uniform grey images of level 0, 0.02, 0.04, … all of class 0."""
    levels = torch.arange(count) * 0.02
    labels = torch.zeros(count, dtype=torch.int64)
    return Seeds(levels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), labels, labels)


def only(*names: str, **more) -> CornerCaseSettings:
    return CornerCaseSettings(transformations=names, **more)


@pytest.mark.parametrize(
    ("stop_at", "bias", "rate"),
    [
        # level + bias > 0.501 for 60 % of the levels: those from 0.16 on, so bias > 0.341
        (0.6, 0.344, 0.6),
        (0.5, 0.304, 0.5),
        (0.7, 0.384, 0.7),  # as a float32 0.7 is less than 0.7
    ],
)
def test_growth_stops_at_the_first_strength_that_reaches_the_rate(device, stop_at, bias, rate):
    model = BrightAbove(0.501).to(device)
    found = find_corner_cases(model, ramp(), only("brightness", stop_at=stop_at))
    (cases,) = found.kept
    assert cases.deformation == Deformation((("brightness", (bias,)),))
    assert cases.success_rate == pytest.approx(rate)
    assert cases.succeeded.tolist() == (cases.images.mean(dim=(1, 2, 3)) > 0.501).tolist()
    assert cases.predictions.tolist() == cases.succeeded.long().tolist()


def test_what_never_reaches_the_rate_ends_at_the_last_strength():
    # at the last gain, 5, only black stays below the limit
    found = find_corner_cases(BrightAbove(0.05), ramp(), only("contrast", stop_at=1.0))
    assert found.kept[0].deformation.steps == (("contrast", (5.0,)),)
    assert found.kept[0].success_rate == pytest.approx(0.95)


def test_what_ends_below_the_lowest_rate_is_dropped_and_said_so():
    found = find_corner_cases(BrightAbove(1.3), ramp(), only("contrast"))
    assert found.kept == ()
    (entry,) = found.dropped
    assert (entry.name, entry.success_rate) == ("contrast", 0.0)
    assert entry.reason == "success rate 0.0% at the strongest setting (α = 5), below 30%"


@pytest.mark.parametrize(("needed", "is_kept"), [(0.45, True), (0.5, True), (0.55, False)])
def test_the_rate_that_keeps_is_inclusive(needed, is_kept):
    # the largest gain, 5, brings the levels 0.2, 0.22, … 0.38 to white: 10 of 20
    found = find_corner_cases(BrightAbove(0.999), ramp(), only("contrast", keep_from=needed))
    assert [cases.success_rate for cases in found.kept] == [0.5] * is_kept
    assert [entry.success_rate for entry in found.dropped] == [0.5] * (not is_kept)


def test_complement_is_for_grey_images_only():
    seeds = ramp()
    colour = seeds._replace(images=seeds.images.expand(-1, 3, -1, -1))
    found = find_corner_cases(BrightAbove(0.5), colour, only("complement"))
    assert [(d.name, d.success_rate) for d in found.dropped] == [("complement", None)]
    grey = find_corner_cases(BrightAbove(0.5), seeds, only("complement"))
    assert grey.kept[0].success_rate == 1.0


def test_combined_takes_the_smallest_change_among_those_that_succeed_enough():
    # bright images of class 1 darken as the black border comes in
    levels = torch.linspace(0.51, 0.62, 20).view(-1, 1, 1, 1).expand(-1, 1, 12, 12).contiguous()
    seeds = Seeds(levels, torch.ones(20, dtype=torch.int64), torch.arange(20))
    model = BrightAbove(0.5)
    found = find_corner_cases(model, seeds, only("shear", "rotation", "translation", "combined"))
    *parts, combined = found.kept
    changes = {}
    for first, second in combinations(parts, 2):
        steps = first.deformation.steps + second.deformation.steps
        deformed = Deformation(steps)(seeds.images)
        rate = (predict(model, deformed).labels == 0).float().mean().item()
        if rate >= max(first.success_rate, second.success_rate):
            changes[steps] = (deformed - seeds.images).abs().mean().item()
    assert len(changes) == len(list(combinations(parts, 2))) > 1
    assert combined.name == "combined"
    assert combined.deformation.steps == min(changes, key=changes.get)


def test_combined_is_dropped_where_parts_undo_each_other():
    # complement of a brightened image is dark again
    found = find_corner_cases(
        BrightAbove(0.55), ramp(), only("brightness", "complement", "combined")
    )
    assert [cases.name for cases in found.kept] == ["brightness", "complement"]
    assert [entry.name for entry in found.dropped] == ["combined"]


def test_the_border_reaches_the_images():
    bright = Seeds(torch.full((4, 1, 8, 8), 0.9), torch.ones(4, dtype=torch.int64), torch.arange(4))
    found = find_corner_cases(BrightAbove(0.5), bright, only("translation"))
    assert found.kept[0].success_rate == 1.0
    mirrored = find_corner_cases(BrightAbove(0.5), bright, only("translation", border="reflection"))
    assert mirrored.dropped[0].success_rate == 0.0


def test_a_search_is_summarised_as_table_3_5():
    found = find_corner_cases(BrightAbove(0.501), ramp(), only("brightness"))
    line = found.kept[0].summary()
    assert json.loads(json.dumps(line)) == line
    assert line["configuration"] == "β = 0.344"
    assert 0.5 < line["mean_confidence"] < 1


def test_seeds_are_correct_images_drawn_by_seed():
    levels = torch.arange(100, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    labels = (torch.arange(100) % 2).long()
    images = ArrayImages(levels.contiguous(), labels, ("dark", "bright"))
    model = BrightAbove(49.5 / 255)
    seeds = seed_images(model, images, 30, seed=1)
    assert len(set(seeds.indices.tolist())) == 30
    assert (predict(model, seeds.images).labels == seeds.labels).all()
    assert torch.equal(seeds.images, images.fetch(seeds.indices))
    assert torch.equal(seeds.indices, seed_images(model, images, 30, seed=1).indices)
    assert not torch.equal(seeds.indices, seed_images(model, images, 30, seed=2).indices)
    assert len(seed_images(model, images, 50, seed=1).indices) == 50
    with pytest.raises(BadInput, match=r"51 seed images are wanted.*only 50 of 100"):
        seed_images(model, images, 51, seed=1)


def test_search_spaces_are_table_3_4():
    sizes = {name: len(entry.growth) for name, entry in TRANSFORMATIONS.items()}
    assert sizes == {
        "brightness": 238,
        "contrast": 41,
        "complement": 1,
        "rotation": 70,
        "shear": 36,
        "scale": 49,
        "translation": 361,
    }
    ends = {name: (entry.growth[0], entry.growth[-1]) for name, entry in TRANSFORMATIONS.items()}
    assert ends == {
        "brightness": ((0.0,), (0.948,)),
        "contrast": ((1.0,), (5.0,)),
        "complement": ((), ()),
        "rotation": ((1.0,), (70.0,)),
        "shear": ((0.0, 0.0), (0.5, 0.5)),
        "scale": ((1.0, 1.0), (0.4, 0.4)),
        "translation": ((0.0, 0.0), (18.0, 18.0)),
    }
    assert TRANSFORMATIONS["shear"].growth[:5] == (
        (0.0, 0.0),
        (0.1, 0.0),
        (0.0, 0.1),
        (0.1, 0.1),
        (0.2, 0.0),
    )
    assert TRANSFORMATIONS["scale"].diagonal == tuple(
        (s, s) for s in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 0", "greater than or equal to 1"),
        ("border: mirror", "'zeros' or 'reflection'"),
        ("transformations: [rotate]", "'rotation'"),
        ("transformations: []", "at least 1"),
        ("seed: 3", "did you mean 'seeds'"),
    ],
)
def test_wrong_settings_are_named(text, message):
    with pytest.raises(BadInput, match=message):
        parse_settings(text, "recipe.yaml", CornerCaseSettings)
