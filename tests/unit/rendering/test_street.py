"""Streets: nothing overlaps, sizes in metres, the subject in view, all from the generator."""

from pathlib import Path

import pytest
import torch
import trimesh

from guard.errors import BadInput
from offline.rendering.camera import to_world
from offline.rendering.ground_truth import annotate
from offline.rendering.scene import Scene
from offline.rendering.streets.models import SIZES, VEHICLES, StreetModels
from offline.rendering.streets.settings import HALF, PAVEMENT, StreetSettings
from offline.rendering.streets.street import sample_streets

SIZE = (48, 64)
COUNT = 4


@pytest.fixture(scope="module")
def streets() -> Scene:
    settings = StreetSettings(hour=(6, 22), weather=("clear", "fog"))
    return sample_streets(COUNT, torch.Generator().manual_seed(3), SIZE, settings)


def boxes(scene: Scene) -> dict[int, tuple[int, torch.Tensor, torch.Tensor]]:
    """The class, lower and upper corner of each object of one scene, in the world."""
    world = to_world(scene)[0]
    found = {}
    for k, kind in enumerate(scene.classes[0].tolist()):
        own = world[scene.faces[0][scene.owners[0][scene.faces[0][:, 0]] == k].unique()]
        if kind >= 0:
            found[k] = (kind, own.amin(0), own.amax(0))
    return found


def test_nothing_overlaps_and_all_stand_on_the_ground(streets: Scene) -> None:
    names = StreetModels().classes
    solid = {names.index(name) for name in (*SIZES, "building") if name in names}
    for i in range(COUNT):
        found = [box for box in boxes(streets[i]).values() if box[0] in solid]
        assert len(found) > 8
        for a in range(len(found)):
            assert float(found[a][1][1]) == pytest.approx(0.0, abs=0.14)
            for b in range(a):
                gap = torch.maximum(found[a][1] - found[b][2], found[b][1] - found[a][2])
                assert float(gap.max()) > -0.01, (i, names[found[a][0]], names[found[b][0]])


def test_sizes_are_in_metres_and_vehicles_are_on_the_road(streets: Scene) -> None:
    names = StreetModels().classes
    for i in range(COUNT):
        for kind, low, high in boxes(streets[i]).values():
            name, size = names[kind], high - low
            if name in VEHICLES:
                assert float(size[2]) == pytest.approx(SIZES[name][1], rel=1e-3)
                assert max(abs(float(low[0])), abs(float(high[0]))) < HALF
            elif name in SIZES:
                assert float(size[1]) == pytest.approx(SIZES[name][1], rel=1e-3)
                assert HALF < abs(float((low[0] + high[0]) / 2)) < HALF + PAVEMENT
            elif name == "building":
                assert 3 < float(size[1]) < 26
                assert min(abs(float(low[0])), abs(float(high[0]))) > HALF + PAVEMENT - 0.2


def test_the_subject_is_seen_and_most_of_the_image_is_street(streets: Scene) -> None:
    found = annotate(streets, *SIZE)
    names = StreetModels().classes
    assert all(names[kind] in StreetSettings().subjects for kind in found.label.tolist())
    assert (found.visible[:, 0] > 0.3).all()
    assert (streets.classes[:, 1] == names.index("road")).all()
    shown = found.instances.flatten(1)
    assert ((shown >= 0).float().mean(1) > 0.4).all()
    assert (found.depth[found.instances >= 0] > 0).all()


def test_streets_follow_from_the_generator(streets: Scene) -> None:
    settings = StreetSettings(hour=(6, 22), weather=("clear", "fog"))
    again = sample_streets(COUNT, torch.Generator().manual_seed(3), SIZE, settings)
    assert all(torch.equal(a, again.tensors()[name]) for name, a in streets.tensors().items())
    other = sample_streets(1, torch.Generator().manual_seed(4), SIZE, settings)
    assert other.points.shape != streets[0].points.shape or not torch.equal(
        other.camera, streets[0].camera
    )


def test_lamps_are_on_by_night_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    day = sample_streets(1, generator, SIZE, StreetSettings(hour=(12, 12)))
    night = sample_streets(1, generator, SIZE, StreetSettings(hour=(23, 23)))
    assert day.lamps.shape[1] == 0
    assert (night.lamps[0, :, 3:] > 1).all()
    lamp = StreetModels().classes.index("street lamp")
    posts = [box for box in boxes(night).values() if box[0] == lamp]
    for place in night.lamps[0, :, :3]:
        assert any(((place >= low) & (place <= high)).all() for _, low, high in posts)


def test_models_come_from_a_folder_and_are_named(tmp_path: Path) -> None:
    for name in ("truck", "car"):
        (tmp_path / name).mkdir()
        trimesh.creation.box((4, 1, 2)).export(tmp_path / name / "a.off")
    settings = StreetSettings(models=tmp_path, subjects=("truck",), vehicles=3)
    models = StreetModels(tmp_path)
    assert models.objects == ("car", "truck")
    scene = sample_streets(1, torch.Generator().manual_seed(0), SIZE, settings)
    assert models.classes[int(scene.classes[0, 0])] == "truck"
    _, low, high = boxes(scene)[0]
    assert (high - low).tolist() == pytest.approx([7.5 / 2, 7.5 / 4, 7.5], rel=1e-3)
    with pytest.raises(BadInput, match="no 'bench' for a street; there are: car, truck"):
        models.check("bench")
    with pytest.raises(BadInput, match="no mesh of a class that can be in a street"):
        StreetModels(tmp_path / "car")
