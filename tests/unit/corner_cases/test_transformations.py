import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from guard.errors import BadInput
from offline.corner_cases import TRANSFORMATIONS, Deformation
from offline.corner_cases.transformations import (
    affine,
    brightness,
    complement,
    contrast,
    rotation,
    scale,
    shear,
    translation,
)

TABLE_3_1 = [
    (lambda x, b: shear(x, 0.2, 0.3, b), [[1, 0.2, 0], [0.3, 1, 0]]),
    (lambda x, b: scale(x, 0.8, 0.5, b), [[0.8, 0, 0], [0, 0.5, 0]]),
    (lambda x, b: scale(x, 1.5, 1.0, b), [[1.5, 0, 0], [0, 1, 0]]),
    (lambda x, b: translation(x, 4.0, 3.0, b), [[1, 0, 4], [0, 1, 3]]),
    (lambda x, b: translation(x, -1.5, 0.25, b), [[1, 0, -1.5], [0, 1, 0.25]]),
]
SCIPY_MODES = {"zeros": "grid-constant", "reflection": "reflect"}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 12, 17, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("border", SCIPY_MODES)
@pytest.mark.parametrize(("transform", "matrix"), TABLE_3_1)
def test_affine_transformations_are_table_3_1(images, device, transform, matrix, border):
    ours = transform(images.to(device), border).cpu()
    torch.testing.assert_close(ours, _by_scipy(images, matrix, border), atol=2e-5, rtol=0)


@pytest.mark.parametrize("degrees", [1.0, 40.0, -70.0])
def test_rotation_agrees_with_torchvision(images, degrees):
    theirs = reference.rotate(images, degrees, interpolation=InterpolationMode.BILINEAR)
    torch.testing.assert_close(rotation(images, -degrees), theirs, atol=2e-5, rtol=0)


def test_quarter_turn_is_clockwise(images):
    square = images[..., :12]
    torch.testing.assert_close(rotation(square, 90.0), square.rot90(-1, (2, 3)), atol=1e-5, rtol=0)


def test_translation_reads_from_further_right_and_down(images):
    moved = translation(images, 2.0, 1.0)
    torch.testing.assert_close(moved[..., :-1, :-2], images[..., 1:, 2:], atol=1e-5, rtol=0)
    assert moved[..., -1, :].abs().max() < 1e-5
    assert moved[..., -2:].abs().max() < 1e-5


def test_scale_grows_from_the_first_pixel(images):
    grown = scale(images, 0.5, 0.5)
    torch.testing.assert_close(grown[..., ::2, ::2], images[..., :6, :9], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("transform", "pixels", "expected"),
    [
        (lambda x: brightness(x, 0.5), [0.0, 0.25, 0.75], [0.5, 0.75, 1.0]),
        (lambda x: brightness(x, -0.5), [0.0, 0.25, 0.75], [0.0, 0.0, 0.25]),
        (lambda x: contrast(x, 4.0), [0.0, 0.125, 0.75], [0.0, 0.5, 1.0]),
        (lambda x: contrast(x, 0.0), [0.0, 0.125, 0.75], [0.0, 0.0, 0.0]),
        (complement, [0.0, 0.25, 1.0], [1.0, 0.75, 0.0]),
    ],
)
def test_pixel_values(device, transform, pixels, expected):
    image = torch.tensor(pixels, device=device).view(1, 1, 1, -1)
    assert transform(image).flatten().tolist() == expected


def test_complement_refuses_colour(images):
    with pytest.raises(BadInput, match=r"1 channel.*3 channels"):
        complement(images)


@pytest.mark.parametrize("matrix", [[[1, 1, 0], [1, 1, 0]], [[0, 0, 0], [0, 1, 0]]])
def test_flattening_matrices_are_refused(images, matrix):
    with pytest.raises(BadInput, match="flattens"):
        affine(images, torch.tensor(matrix, dtype=torch.float64))


def test_results_stay_in_range_and_shape_at_every_extreme(images, device):
    grey = images[:, :1].to(device)
    for border in SCIPY_MODES:
        for transformation in TRANSFORMATIONS.values():
            for configuration in (transformation.growth[0], transformation.growth[-1]):
                found = Deformation(((transformation.name, configuration),), border)(grey)
                assert found.shape == grey.shape
                assert found.min() >= 0
                assert found.max() <= 1


def test_a_deformation_applies_its_steps_from_left_to_right(images):
    steps = (("brightness", (0.5,)), ("translation", (3.0, 0.0)))
    found = Deformation(steps)(images)
    torch.testing.assert_close(found, translation(brightness(images, 0.5), 3.0, 0.0))
    assert not torch.allclose(found, brightness(translation(images, 3.0, 0.0), 0.5))


def _by_scipy(images: torch.Tensor, matrix, border: str) -> torch.Tensor:
    """Warp by a matrix of (x, y); scipy reads as Table 3.1 does, but wants (row, column)."""
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    by_rows = swap @ np.array([*matrix, [0, 0, 1]], dtype=float) @ swap
    warped = [
        ndimage.affine_transform(plane, by_rows, order=1, mode=SCIPY_MODES[border])
        for plane in images.flatten(0, 1).double().numpy()
    ]
    return torch.from_numpy(np.stack(warped)).view_as(images).float()
