"""The command `render`: images of scenes that a file describes."""

from pathlib import Path
from typing import Annotated

import typer

from guard.toolchain import toolchain

__all__ = ["app"]

app = typer.Typer(rich_markup_mode="rich")

# A paragraph for each line, which typer 0.15 keeps apart as well; so YAML without indentation.
EXAMPLE = """
[bold]Example[/bold]: cornerguard render street.yaml --out streets --count 5

where street.yaml is

size: \\[360, 640]                                   # height, width

street: {hour: \\[7, 21], weather: \\[clear, hazy, fog], subjects: \\[car, bus]}

image_formation: {exposure: 0.3, full_well: 8000}  # sRGB, a sensor's noise

or, for objects of your own (angles in degrees, y is up, the subject first):

objects:

- {class: bus, pose: \\[0, 30, 0], translation: \\[0, 0.2, 0], scale: 1.2}

- {class: bench, translation: \\[2, 0, -1]}

# - {mesh: models/truck.glb, class: truck}        OBJ, GLB, PLY, OFF or STL

camera: {distance: 5, azimuth: 35, elevation: 15, field_of_view: 40}

daylight: {hour: 17.5, weather: clear}

[bold]Instead of daylight[/bold]: light: {direction, colour}, lamps: \\[{place, colour}],
environment: RGB, fog: {visibility, colour}, background: RGB or a picture.

[bold]Also[/bold]: samples (along each side of a pixel), seed, count, shadows: false, and
renderer: mitsuba or redner, which cast no shadows.
"""


@app.command(epilog=EXAMPLE)
def render(
    scene: Annotated[
        Path, typer.Argument(metavar="SCENE", help="A YAML file that describes scenes.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for what is rendered.")],
    count: Annotated[
        int | None, typer.Option(min=1, help="How many images, instead of what SCENE says.")
    ] = None,
) -> None:
    """Render images of streets or of your own meshes, with labels, boxes, masks and depth.

    DIR gets images/, masks/ (classes), instances/, depth/ and annotations.json in COCO's format.
    """
    toolchain("offline.rendering.rendered_folder").render_file(scene, out, count)
