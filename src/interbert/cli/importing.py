"""The verb that brings in other projects' features: import-features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from interbert.cli.screen import Screen, verb

if TYPE_CHECKING:
    from interbert.vision.legacy import ImportReport
    from interbert.vision.legacy_records import Naming

IN_PART, FAILED = 3, 1
PLACE = click.Path(path_type=Path)


@verb(
    "import-features",
    examples=(
        "interbert import-features train2014_obj36.tsv --format bottom-up-tsv --out regions",
        "interbert import-features flickr30k_npz/ --format uniter-npz --images photos/ --out regions",
        "interbert import-features coco.lmdb --format vilbert-lmdb --ids 'COCO_train2014_{:012d}' --out regions",
    ),
)
@click.argument("features", type=PLACE)
@click.option("--format", required=True, help="Which project's: bottom-up-tsv, vilbert-lmdb, mmf-npy, …")
@click.option("--out", required=True, type=PLACE, help="The region store, made or continued.")
@click.option("--objects", type=PLACE, help="Names of the object classes, one a line.")
@click.option("--attributes", type=PLACE, help="Names of the attributes, one a line.")
@click.option("--made-by", default="", help="Who made them, in your words; features of another maker never mix.")
@click.option("--extractor-json", type=PLACE, help="Of the extractor that made the same: then they mix with its own.")
@click.option("--images", type=PLACE, help="The pictures: sizes are compared, leakage checks know the files.")
@click.option("--ids", metavar="PATTERN", help="What ids become, from the number at their end: COCO_val2014_{:012d}.")
@click.option("--max-regions", type=click.IntRange(1), help="The best so many of a picture.  [default: all]")
@click.option("--feature-type", type=click.Choice(["float16", "float32"]), help="[default: float16]")
def import_features(
    screen: Screen,
    features: Path,
    format: str,
    out: Path,
    objects: Path | None,
    attributes: Path | None,
    made_by: str,
    extractor_json: Path | None,
    images: Path | None,
    ids: str | None,
    max_regions: int | None,
    feature_type: str | None,
) -> int:
    """Bring in region features that another project made.

    FEATURES is a file or folder in one of the formats bottom-up-tsv, uniter-npz, uniter-lmdb, vilbert-lmdb,
    tensorpack-lmdb, mmf-npy, mmf-lmdb and bua-npz. The same command again goes on where it stopped. What cannot be
    used is skipped, counted, and named in OUT/failures.jsonl; then the exit status is 3.
    """
    from interbert.vision.legacy import ImportOptions
    from interbert.vision.legacy import import_features as import_into_store

    naming = _naming(objects, attributes, made_by, extractor_json)
    options = ImportOptions(naming, ids, images, max_regions, feature_type)
    report = import_into_store(features, format, out, options, progress=screen.progress)
    screen.show(asdict(report), _lines(report, out))
    if not report.skipped:
        return 0
    return IN_PART if report.done or report.already_there else FAILED


def _naming(objects: Path | None, attributes: Path | None, made_by: str, extractor_json: Path | None) -> Naming:
    from interbert.errors import UsageError
    from interbert.vision.legacy_records import Naming, names_of
    from interbert.vision.provenance import ExtractorInfo

    if extractor_json is not None and (objects or attributes or made_by):
        raise UsageError("--extractor-json names objects, attributes and maker already; leave the other options out")
    extractor = None if extractor_json is None else ExtractorInfo.load(extractor_json)
    return Naming(
        () if objects is None else names_of(objects),
        () if attributes is None else names_of(attributes),
        made_by,
        extractor,
    )


def _lines(report: ImportReport, out: Path) -> list[str]:
    lines = [f"{out}: {report.done:,} pictures imported, {report.already_there:,} were there already"]
    if report.clipped or report.dropped:
        lines.append(f"{report.clipped:,} boxes stuck out a little and were cut; {report.dropped:,} had no area")
    if report.without_size:
        lines.append(f"{report.without_size:,} pictures' sizes are not known: boxes count thousandths (see --images)")
    if report.skipped:
        lines += [f"{report.skipped:,} could not be used; see {out}/failures.jsonl", *report.examples]
    return lines
