"""The command `render`: images of scenes that a file describes."""

from pathlib import Path
from typing import Annotated

import typer

from guard.toolchain import toolchain

__all__ = ["app"]

app = typer.Typer(rich_markup_mode="rich")

EXAMPLE = """
[bold]Example[/bold]: cornerguard render street.yaml --out streets --count 500, where street.yaml is

    size: \\[360, 640]                 # height, width; also: samples, seed, count, renderer
\b
    street: {hour: \\[7, 21], weather: \\[clear, hazy, fog], subjects: \\[car, bus]}
\b
    image_formation: {exposure: 0.3, full_well: 8000}      # sRGB, with a sensor's noise

or, for objects of your own:

    objects:                         # the subject first; angles in degrees, y is up
\b
      - {mesh: models/truck.glb, pose: \\[0, 30, 0], translation: \\[0, 0.2, 0], scale: 1.2}
\b
      - {class: bench, translation: \\[2, 0, -1]}
\b
    camera: {distance: 5, azimuth: 35, elevation: 15, field_of_view: 40}
\b
    daylight: {hour: 17.5, weather: clear}   # or: light, environment, lamps, fog, background
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
