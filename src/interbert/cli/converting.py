"""The verb `convert`: other people's weights as folders that this package takes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from interbert.cli.converting_bottom_up import convert_bottom_up
from interbert.cli.screen import Screen, verb

if TYPE_CHECKING:
    from interbert.pretraining.converting import Converted

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
FAILED = 1
EXTRACTOR_HELP = "What made its regions: a folder with extractor.json, that file, or a name.  [default: not known]"


@verb(
    "released",
    examples=(
        "interbert convert released pytorch_model_9.bin --config bert_base_6layer_interbert.json --out runs/released",
        "interbert convert released pretrained.bin --config config.json --out runs/released "
        "--tokenizer vocab.txt --check inputs.safetensors outputs.safetensors",
    ),
)
@click.argument("file", type=FILE)
@click.option("--config", required=True, type=FILE, help="The release's config.json of that checkpoint.")
@click.option("--out", required=True, type=FOLDER, help="The run.")
@click.option("--tokenizer", help="A vocabulary's file or folder.  [default: bert-base-uncased's where sizes agree]")
@click.option("--extractor", help=EXTRACTOR_HELP)
@click.option("--check", nargs=2, type=FILE, metavar="INPUTS OUTPUTS", help="Recorded batch and outputs to agree with.")
@click.option("--licence", default="mit", show_default=True, help="Of the weights, for the model card.")
def convert_released(
    screen: Screen,
    file: Path,
    config: Path,
    out: Path,
    tokenizer: str | None,
    extractor: str | None,
    check: tuple[Path, Path] | None,
    licence: str,
) -> int:
    """Convert a checkpoint of InterBERT's authors, pretrained or fine-tuned.

    With --check every tensor and loss that they recorded is compared, with a trace and gradient norms that lie beside
    OUTPUTS; above the limits the exit status is 1 and nothing is written.
    """
    from interbert.pretraining.converting import convert_released as convert

    done = convert(file, config, out, tokenizer=tokenizer, extractor=extractor, check=check, licence=licence)
    _show(screen, done)
    return 0 if done.is_written else FAILED


@verb(
    "bert",
    examples=(
        "interbert convert bert bert-base-uncased --out runs/start --preset paper",
        "interbert convert bert minilm --out runs/start --preset small --extractor demo/regions",
    ),
)
@click.argument("source", metavar="FOLDER_OR_ID")
@click.option("--out", required=True, type=FOLDER, help="The run.")
@click.option("--preset", default="paper", show_default=True, help="The model's sizes: paper, released, small, tiny.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A size that differs; may be given again.")
@click.option("--extractor", help=EXTRACTOR_HELP)
@click.option("--seed", default=0, show_default=True, help="Of the weights that BERT does not bring.")
@click.option("--licence", default="unknown", show_default=True, help="Of the weights, for the model card.")
def convert_bert(
    screen: Screen,
    source: str,
    out: Path,
    preset: str,
    pairs: tuple[str, ...],
    extractor: str | None,
    seed: int,
    licence: str,
) -> None:
    """Start a new InterBERT from a BERT, to be pretrained.

    FOLDER_OR_ID is a folder, an id on the Hugging Face hub, or minilm (shipped).
    """
    from interbert.pretraining.converting import convert_bert as convert
    from interbert.settings import read_pairs

    done = convert(
        source, out, preset_name=preset, settings=read_pairs(pairs), extractor=extractor, seed=seed, licence=licence
    )
    _show(screen, done)


def _show(screen: Screen, done: Converted) -> None:
    for note in done.notes:
        screen.say(note)
    value = asdict(done)
    if done.comparison is not None:
        value["comparison"]["is_within"] = done.comparison.is_within
    screen.show(value, done.lines())


CONVERT_VERBS = (convert_released, convert_bert, convert_bottom_up)
convert = click.Group(
    "convert",
    commands={str(command.name): command for command in CONVERT_VERBS},
    help="Take other people's weights.",
)
