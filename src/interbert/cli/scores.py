"""Verbs that make a score mean something: calibrate, explain."""

from __future__ import annotations

from pathlib import Path

import click

from interbert.cli.screen import Screen, verb
from interbert.errors import UsageError

IN_PART = 3
PLACE = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
PICTURES, PAGES = (".png", ".jpg", ".jpeg", ".webp"), (".html", ".htm")


@verb(
    "calibrate",
    examples=(
        "interbert calibrate pairs.jsonl --from runs/mine --precision 0.9",
        "interbert calibrate pairs.csv --from runs/mine --store regions --prior 0.01",
        "interbert calibrate demo/corpus --from demo/run --split validation --json",
    ),
)
@click.argument("pairs", type=PLACE)
@click.option("--from", "run", required=True, type=PLACE, help="A run's folder; its calibration is written into it.")
@click.option("--store", type=PLACE, help="A region store with the pictures.  [default: files beside PAIRS]")
@click.option(
    "--split", default="validation", show_default=True, help="Which part of a corpus, or of rows with splits."
)
@click.option("--negatives", default=1, show_default=True, type=click.IntRange(1), help="Others a text, of a corpus.")
@click.option("--prior", type=float, help="The share of matches where scores will be used.  [default: as in PAIRS]")
@click.option("--threshold", default=0.6, show_default=True, help="One more for the table.")
@click.option("--precision", type=float, help="Say which threshold reaches it.")
@click.option("--seed", default=0, show_default=True, help="Of what is drawn: folds, a corpus' other pictures.")
def calibrate(
    screen: Screen,
    pairs: Path,
    run: Path,
    store: Path | None,
    split: str,
    negatives: int,
    prior: float | None,
    threshold: float,
    precision: float | None,
    seed: int,
) -> int:
    """Make a run's scores probabilities.

    PAIRS is a csv, tsv or jsonl file with columns text, image and label (1: they belong together, 0: not), or a corpus,
    of which each text gets its own picture and drawn ones. Give pairs the run was not trained on. Whatever reads the
    run then gives probabilities; the order of scores does not change. Exit status 3: some pairs were left out.
    """
    from interbert.scoring.calibrating import PAGE
    from interbert.scoring.calibrating import calibrate as calibrate_run

    report = calibrate_run(
        run,
        pairs,
        store=store,
        split=split,
        negatives=negatives,
        prior=prior,
        threshold=threshold,
        precision=precision,
        seed=seed,
        progress=screen.progress,
    )
    screen.show(report.to_json(), [*report.lines(), f"{run / PAGE}"])
    for reason, count in report.left_out.items():
        screen.say(f"{count:,} left out: {reason}")
    return IN_PART if report.left_out else 0


@verb(
    "explain",
    examples=(
        'interbert explain "a red apple" apple.png --from demo/run --out apple.html',
        'interbert explain "two dogs play" dogs.jpg --from runs/mine --out boxes.png --best 3',
    ),
)
@click.argument("text")
@click.argument("image", type=FILE)
@click.option("--from", "run", required=True, help="A run's folder, or an id on the Hugging Face hub.")
@click.option("--revision", help="Of an id on the hub.")
@click.option("--out", type=FILE, help="A page (.html), or the picture with its boxes (.png, .jpg, .webp).")
@click.option("--best", default=5, show_default=True, type=click.IntRange(1), help="So many regions at most.")
def explain(
    screen: Screen, text: str, image: Path, run: str, revision: str | None, out: Path | None, best: int
) -> None:
    """Which words and regions carried a score.

    What the score's log odds lose where each word and each region is left out, and which words look at which regions.
    """
    kind = "" if out is None else out.suffix.lower()
    if out is not None and kind not in (*PICTURES, *PAGES):
        raise UsageError(f"--out: got '{out}', wanted a name that ends in {', '.join((*PAGES, *PICTURES))}")
    from interbert.files import whole_file
    from interbert.scoring.explain import draw, write_explanation
    from interbert.scoring.scorer import load
    from interbert.vision.images import open_image

    found = load(run, revision=revision).explain(text, image)
    if out is not None and kind in PAGES:
        write_explanation(out, found, open_image(image), best)
    elif out is not None:
        with whole_file(out, "wb") as file:
            draw(found, open_image(image), best).save(file, "JPEG" if kind in (".jpg", ".jpeg") else kind[1:])
    screen.show({"image": str(image), **found.to_json()}, found.lines(best))
