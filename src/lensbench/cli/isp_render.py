"""`bench isp render`: develop a raw frame in one view, or all views of a tier on a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lensbench.isp.frame import Frame
    from lensbench.isp.view import View


@click.command("render")
@click.argument("frame", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--view", "name", help="Name of a view in the tier, or a .json file with one.")
@click.option("--tier", default="corrected-12", show_default=True, help="Which tier the views are of.")
@click.option("--grid", is_flag=True, help="A contact sheet of all views of the tier.")
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .png file.")
@click.option("--camera", "camera_name", help="A known camera, or a .toml file (default: the DNG's own, else plain).")
@click.option("--cfa", help="Filter order, where it is another than the camera's: RGGB, GRBG, GBRG or BGGR.")
@click.option("--white", type=click.FloatRange(min=1, max=65535), help="Value at which the sensor saturates.")
@click.option("--simulate", is_flag=True, help="The file is an 8-bit developed image: take it back to a mosaic first.")
def command(
    frame: Path,
    name: str | None,
    tier: str,
    grid: bool,
    out: Path,
    camera_name: str | None,
    cfa: str | None,
    white: float | None,
    simulate: bool,
) -> None:
    """Develop FRAME, a raw mosaic (DNG, TIFF or PNG), in one view, or in all views of a tier.

    \b
    bench isp render frame.dng --view me-u-ga -o out.png
    bench isp render tile.png --camera raw_microscopy --tier paper-12 --grid -o sheet.png
    """
    if (name is None) != grid or out.suffix.lower() != ".png":
        raise click.UsageError("give --view NAME or --grid, and a -o file that ends in .png")
    if simulate and white is not None:
        raise click.UsageError("--white is of a sensor's frame: a simulated one has its camera's own")
    from lensbench.images.decode import encode_png
    from lensbench.isp import develop
    from lensbench.isp.after import eight_bits
    from lensbench.isp.sheet import contact_sheet
    from lensbench.isp.tiers import get_tier
    from lensbench.paths import atomic

    views = [_view(name, tier)] if name else list(get_tier(tier).views)
    raw, camera = _frame(frame, camera_name, cfa, white, simulate)
    if grid:
        pixels = contact_sheet(raw, camera, views, sample=frame.name)
    else:
        pixels = eight_bits(develop(raw, camera, views[0], sample=frame.name))
    with atomic(out) as part:
        part.write_bytes(encode_png(pixels))
    for view in views:
        click.echo(f"{view.name}  {view.digest}")
    height, width = raw.shape
    simulated = ", simulated from a developed image" if simulate else ""
    click.echo(f"{out}: {len(views)} view{'s' * (len(views) > 1)} of {width}×{height} pixels, {camera.cfa}{simulated}")


def _view(name: str, tier: str) -> View:
    from lensbench.isp.tiers import get_tier
    from lensbench.isp.view import read_view

    return read_view(Path(name)) if name.endswith(".json") else get_tier(tier).view(name)


def _frame(path: Path, camera_name: str | None, cfa: str | None, white: float | None, simulate: bool) -> Frame:
    from dataclasses import replace

    from lensbench.isp.camera import get_camera
    from lensbench.isp.frame import Frame, read_developed, read_frame
    from lensbench.isp.inverse import simulate as simulated

    camera = get_camera(camera_name) if camera_name else None
    if simulate:
        made = simulated(read_developed(path), camera)
        found = Frame(made.raw, made.camera)
    else:
        found = read_frame(path, camera, white)
    return Frame(found.raw, replace(found.camera, cfa=cfa)) if cfa else found
