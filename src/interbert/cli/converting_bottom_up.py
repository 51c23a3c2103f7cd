"""The verb `convert bottom-up`: published weights of the detector into a folder that `--extractor bottom-up:` reads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from interbert.cli.screen import Screen, verb

FAILED = 1
PATH = click.Path(path_type=Path)


@verb(
    "bottom-up",
    examples=(
        "interbert convert bottom-up frcnn-vg-finetuned/pytorch_model.bin "
        "--config frcnn-vg-finetuned/config.yaml --out detector",
        "interbert convert bottom-up bua-caffe-frcn-r101-k10-100.pth --config test-caffe-r101.yaml --out detector "
        "--objects objects_vocab.txt --attributes attributes_vocab.txt",
    ),
)
@click.argument("weights", type=PATH)
@click.option("--config", required=True, type=PATH, help="The YAML file that the weights were published with.")
@click.option("--out", required=True, type=PATH, help="The folder to make.")
@click.option("--objects", type=PATH, help="Names of the classes, one a line; of synonyms (commas) the first is taken.")
@click.option("--attributes", type=PATH, help="Names of the attributes.")
@click.option("--check", type=PATH, help="A fixture: every stage is compared with what it recorded.")
def convert_bottom_up(
    screen: Screen,
    weights: Path,
    config: Path,
    out: Path,
    objects: Path | None,
    attributes: Path | None,
    check: Path | None,
) -> int:
    """Make published weights of the bottom-up detector ready for extraction.

    WEIGHTS is unc-nlp's pytorch_model.bin or MILVLG's .pth. Without names, a class is called "object 17". With --check,
    each stage's largest difference is printed; above its limit, nothing is written and the exit status is 1.
    """
    from interbert.vision.bottom_up_folder import convert_detector

    done = convert_detector(weights, config, out, objects=objects, attributes=attributes, check=check)
    lines = [str(difference) for difference in done.differences]
    if check is not None:
        fine = sum(difference.fine for difference in done.differences)
        lines.append(f"{fine} of {len(done.differences)} stages agree with '{check}'")
    if done.is_written:
        info = done.info
        lines.append(
            f"{out}: {len(info.classes)} classes, {len(info.attributes)} attributes, {info.feature_size} numbers a "
            f"region; use it with  --extractor bottom-up:{out}"
        )
    else:
        lines.append("nothing was written")
    if objects is None or attributes is None:
        screen.say('without --objects and --attributes, names are numbers: "object 17"')
    differences = [asdict(difference) | {"fine": difference.fine} for difference in done.differences]
    screen.show({"out": str(out), "is_written": done.is_written, "differences": differences}, lines)
    return 0 if done.is_written else FAILED
