"""Verbs from pictures to regions: sample, extract, store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from interbert.cli.screen import Screen, verb
from interbert.errors import UsageError

if TYPE_CHECKING:
    from interbert.vision.sources import ImageSource

IN_PART, FAILED = 3, 1
FOLDER = click.Path(path_type=Path)


@verb("sample", examples=("interbert sample demo/catalogue",))
@click.argument("folder", type=FOLDER)
def sample(screen: Screen, folder: Path) -> None:
    """Make a small real catalogue in FOLDER.

    About 850 drawn pictures with English and Chinese names, kinds and categories, out of installed packages."""
    from interbert.sample import make_sample

    report = make_sample(folder)
    for licence in report.licences:
        screen.say(licence)
    line = (
        f"{report.catalogue}: {report.pictures} pictures, {report.new} of them new; licences in {folder}/LICENCES.txt"
    )
    screen.show({**asdict(report), "catalogue": str(report.catalogue)}, [line])


@verb(
    "extract",
    examples=(
        "interbert extract photos/ --out regions",
        "interbert extract demo/catalogue/catalogue.jsonl --out demo/regions --workers 2",
        "interbert extract photos/ --out regions-bu --extractor bottom-up:detector --set rule=final",
    ),
)
@click.argument("images", type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="The region store, made or continued.")
@click.option(
    "--extractor",
    default="embedded",
    show_default=True,
    metavar="NAME[:ARGUMENT]",
    help="Which one reads the pictures: embedded, bottom-up:FOLDER_OR_ID, hf:FOLDER_OR_ID, torchvision:NAME.",
)
@click.option("--format", "kind", type=click.Choice(("products",)), help="IMAGES is a shop's catalogue.")
@click.option("--download", type=FOLDER, help="Of products: fetch pictures that are addresses on the web into it.")
@click.option("--max-regions", default=36, show_default=True, help="The best so many of a picture.")
@click.option("--min-regions", default=10, show_default=True, help="At least so many.")
@click.option("--min-confidence", default=0.2, show_default=True, help="From this confidence on, beyond the least.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="What else the extractor has.")
@click.option("--workers", type=click.IntRange(0), help="Processes; 0 is none but this.  [default: one a core]")
@click.option("--mirrored", is_flag=True, help="Also the regions of each picture flipped left to right.")
@click.option("--on", metavar="ray|ray://HOST:PORT", help="In place of --workers: a Ray cluster, see docs/scale.md.")
def extract(
    screen: Screen,
    images: Path,
    out: Path,
    extractor: str,
    kind: str | None,
    download: Path | None,
    max_regions: int,
    min_regions: int,
    min_confidence: float,
    settings: tuple[str, ...],
    workers: int | None,
    mirrored: bool,
    on: str | None,
) -> int:
    """Find the regions of every picture.

    IMAGES is a folder, a .txt list, or a .csv or .jsonl catalogue. The same command again goes on where it stopped. A
    broken picture is skipped, counted, and named in OUT/failures.jsonl; then the exit status is 3.

    With --format products the main pictures of a shop's catalogue are read, as `interbert corpus` reads its titles:
    --set columns.image=NAME names the column.
    """
    from interbert.settings import read_pairs
    from interbert.vision.extractor import Extractor, extract_images, image_sources

    if on and workers is not None:
        raise UsageError("--workers are processes of this machine, --on a cluster; give one of them")
    if download and kind != "products":
        raise UsageError("--download is of --format products: other lists name files")
    given = read_pairs(settings)
    columns = {key: given.pop(key) for key in list(given) if kind == "products" and key.startswith("columns.")}
    made = Extractor.from_name(
        extractor,
        max_regions=max_regions,
        min_regions=min_regions,
        min_confidence=min_confidence,
        settings=given,
    )
    not_fetched: dict[str, str] = {}
    if kind == "products":
        sources, not_fetched = _of_catalogue(images, columns, download, screen.progress)
    else:
        sources = image_sources(images)
    report = extract_images(sources, made, out, workers=workers, progress=screen.progress, mirrored=mirrored, on=on)
    lines = [f"{out}: {report.done} pictures extracted, {report.already_there} were there already"]
    if report.failed:
        lines.append(f"{len(report.failed)} could not be read; see {out}/failures.jsonl")
    lines += [f"not fetched: {address}: {why}" for address, why in not_fetched.items()]
    screen.show({**asdict(report), "not_fetched": not_fetched}, lines)
    if not report.failed and not not_fetched:
        return 0
    return IN_PART if report.done or report.already_there else FAILED


def _of_catalogue(
    path: Path, columns: dict[str, str], download: Path | None, progress: bool
) -> tuple[list[ImageSource], dict[str, str]]:
    """The pictures of a catalogue, and why some could not be fetched."""
    from interbert.config import with_settings
    from interbert.corpus.catalogue import Catalogue, Columns
    from interbert.corpus.catalogue_pictures import picture_sources

    names = with_settings(Columns(), {key.removeprefix("columns."): name for key, name in columns.items()})
    return picture_sources(Catalogue(path, names, needed=("image",)), download, progress=progress)


@verb("info", examples=("interbert store info demo/regions", "interbert store info demo/regions --json"))
@click.argument("folder", type=FOLDER)
def store_info(screen: Screen, folder: Path) -> None:
    """What is in a region store, and what made it."""
    from interbert.vision.store import describe

    about = describe(folder)
    extractor, regions = about["extractor"], about["regions_per_picture"]
    lines = [
        f"{folder}: {about['pictures']:,} pictures, {about['regions']:,} regions "
        f"({regions['min']} to {regions['max']} a picture, {regions['mean']} in the mean)",
        f"extractor {extractor['name']}: {extractor['feature_size']} numbers a region, "
        f"{len(extractor['classes'])} classes, {len(extractor['attributes'])} attributes",
        f"settings {', '.join(f'{name} {value}' for name, value in extractor['settings'].items())}",
        f"{about['feature_type']}, {about['bytes'] / 1e6:,.1f} MB in {about['shards']} shards",
    ]
    if about["writer_process"]:
        lines.append(f"process {about['writer_process']} is writing to it")
    screen.show(about, lines)


@verb(
    "show",
    examples=(
        "interbert store show demo/regions 1f34e",
        "interbert store show demo/regions 1f34e --json",
    ),
)
@click.argument("folder", type=FOLDER)
@click.argument("id")
def store_show(screen: Screen, folder: Path, id: str) -> None:
    """The regions of one picture.

    A line each: box in pixels, class, confidence, and attribute where the extractor has them."""
    from interbert.vision.store import RegionStore
    from interbert.vision.words import region_words

    with RegionStore(folder) as opened:
        regions = opened[id]
        found = region_words(regions, opened.extractor)
    width, height = regions.image_size
    lines = [f"{id}: {len(regions)} regions of a picture of {width} x {height} pixels"]
    for one in found:
        box = " ".join(f"{corner:7.1f}" for corner in one.box)
        line = f"{box}  {one.confidence:.3f}  {one.name or f'class {one.label}'}"
        if one.attribute is not None:
            line += f"  ({one.attribute_name or f'attribute {one.attribute}'} {one.attribute_confidence:.3f})"
        lines.append(line)
    screen.show({"id": id, "image_size": regions.image_size, "regions": [asdict(one) for one in found]}, lines)


@verb("merge", examples=("interbert store merge first second --out both",))
@click.argument("stores", nargs=-1, required=True, type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="The new store.")
def store_merge(screen: Screen, stores: tuple[Path, ...], out: Path) -> None:
    """Copy several region stores into a new one.

    All must be of one extractor."""
    from interbert.vision.store import merge

    count = merge(list(stores), out)
    screen.show({"out": str(out), "pictures": count}, [f"{out}: {count} pictures of {len(stores)} stores"])


@verb("verify", examples=("interbert store verify demo/regions",))
@click.argument("folder", type=FOLDER)
def store_verify(screen: Screen, folder: Path) -> int:
    """Read every byte and compare the checksums.

    Every damage is a line; then the exit status is 1."""
    from interbert.vision.store import RegionStore

    with RegionStore(folder) as opened:
        damages = [str(damage) for damage in opened.damages()]
        screen.show(
            {"pictures": len(opened), "damages": damages},
            damages or [f"{folder}: {len(opened)} pictures, every checksum is right"],
        )
    return FAILED if damages else 0


STORE_VERBS = (store_info, store_show, store_verify, store_merge)
store = click.Group(
    "store",
    commands={str(command.name): command for command in STORE_VERBS},
    help="Look at, verify and merge region stores.",
)
