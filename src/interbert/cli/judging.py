"""Verbs that use a trained run: score, rank, page; and doctor, which looks at the machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from interbert.cli.screen import Screen, precision_option, verb

IN_PART = 3
FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)

_run = click.option("--from", "run", required=True, help="A run's folder, or an id on the Hugging Face hub.")
_revision = click.option("--revision", help="Of an id on the hub.")
_raw = click.option("--raw", is_flag=True, help="Scores as the model gives them, also where the run is calibrated.")


@verb(
    "score",
    examples=(
        'interbert score "a red apple" apple.png --from demo/run',
        'interbert score "a bird" one.png two.png --from demo/run --json',
    ),
)
@click.argument("text")
@click.argument("images", nargs=-1, required=True, type=FILE)
@_run
@_revision
@_raw
@precision_option
def score(
    screen: Screen, text: str, images: tuple[Path, ...], run: str, revision: str | None, raw: bool, precision: str
) -> None:
    """How well a text and pictures belong together.

    A number in [0, 1] for each of IMAGES, in their order."""
    from interbert.scoring.scorer import load

    scorer = load(run, revision=revision, calibrated=not raw, precision=precision)
    scores = scorer.predict([(text, image) for image in images], show_progress_bar=None)
    results = [{"image": str(image), "score": float(value)} for image, value in zip(images, scores, strict=True)]
    screen.show({"text": text, "results": results}, (f"{one['score']:.4f}  {one['image']}" for one in results))


@verb(
    "rank",
    examples=(
        'interbert rank "a bird" demo/catalogue/images --from demo/run --top-k 5',
        'interbert rank "a bird" demo/regions --from demo/run --top-k 5 --json',
    ),
)
@click.argument("text")
@click.argument("images", type=FOLDER)
@_run
@_revision
@_raw
@precision_option
@click.option("--top-k", type=click.IntRange(1), help="Only the best so many.  [default: all]")
def rank(
    screen: Screen,
    text: str,
    images: Path,
    run: str,
    revision: str | None,
    raw: bool,
    precision: str,
    top_k: int | None,
) -> int:
    """Pictures by how well they belong to a text.

    Best first. IMAGES is a region store, a folder, a .txt list, or a .csv or .jsonl catalogue. A store is much faster:
    its pictures need not be read again. A broken picture is skipped and counted; then the exit status is 3.
    """
    from interbert.scoring.pictures import rank_pictures
    from interbert.scoring.scorer import load

    scorer = load(run, revision=revision, calibrated=not raw, precision=precision)
    ranking = rank_pictures(scorer, text, images, top_k=top_k, progress=screen.progress)
    lines = [f"{one.score:.4f}  {one.id}" for one in ranking.results]
    screen.show({"text": text, **asdict(ranking)}, lines)
    for id, reason in ranking.failed.items():
        screen.say(f"skipped '{id}': {reason}")
    return IN_PART if ranking.failed else 0


@verb(
    "page",
    examples=(
        "interbert page demo/corpus --from demo/run --init bert:minilm --topics demo/catalogue/topics.txt "
        "--out demo/index.html",
        'interbert page demo/corpus --from demo/run --topic "a bird" --topic fruit --out birds.html',
    ),
)
@click.argument("corpus", type=FOLDER)
@_run
@click.option("--topic", "topics", multiple=True, help="A text to recall pictures for; may be given again.")
@click.option("--topics", "topics_file", type=FILE, help="A file of topics, one a line.")
@click.option("--out", required=True, type=FILE, help="The page.")
@click.option("--init", help="What the run was started from, as given to pretrain.  [default: at random]")
@click.option("--split", default="validation", show_default=True, help="Which pictures of the corpus are the pool.")
@click.option("--best", default=10, show_default=True, type=click.IntRange(1), help="Pictures shown of each topic.")
def page(
    screen: Screen,
    corpus: Path,
    run: str,
    topics: tuple[str, ...],
    topics_file: Path | None,
    out: Path,
    init: str | None,
    split: str,
    best: int,
) -> None:
    """A page of pictures recalled for topics.

    Each topic's best pictures of a split of CORPUS with their scores, and beside them what the same model
    recalled before its training."""
    from interbert.scoring.page import read_topics, recall_page

    asked = [*topics, *(read_topics(topics_file) if topics_file else [])]
    report = recall_page(corpus, run, asked, out, init=init, split=split, best=best, progress=screen.progress)
    screen.show(report.to_json(), [*report.lines(), f"open {out}"])


@verb("doctor", examples=("interbert doctor", "interbert doctor --network --json"))
@click.option("--network", is_flag=True, help="Also ask whether the Hugging Face hub answers.")
def doctor(screen: Screen, network: bool) -> None:
    """What is installed, what is missing, what to do."""
    from interbert.doctor import examine

    findings = examine(network=network)
    screen.show(
        {finding.name: {"value": finding.value, "mend": finding.mend} for finding in findings},
        (str(finding) for finding in findings),
    )
