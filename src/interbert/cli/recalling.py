"""Verbs of appendix A.4: index makes and changes an index of products, recall searches it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from interbert.cli.screen import Screen, plain, precision_option, verb

if TYPE_CHECKING:
    from interbert.recall.search import Answer, Question, Searcher

IN_PART, FAILED = 3, 1
FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
_STORE = "The server that has the index, for many machines; given once, the folder names it, without password."


@verb(
    "index",
    examples=(
        "interbert index demo/catalogue/catalogue.jsonl --from demo/run --out demo/index",
        "interbert index products.csv --from run --out index --whole --measure",
        "interbert index --out index --delete 4711 --delete 4712",
        "interbert index --out index --list-versions",
        "interbert index --out index --restore 3",
        "interbert index products.csv --from run --out index --store postgresql://me@server/shop",
    ),
)
@click.argument("catalogue", type=FOLDER, required=False)
@click.option("--from", "run", help="A run's folder, or an id on the Hugging Face hub.")
@click.option("--revision", help="Of an id on the hub.")
@click.option("--out", required=True, type=FOLDER, help="The index, made or changed.")
@click.option("--store", metavar="postgresql://…", help=_STORE)
@click.option("--regions", type=FOLDER, help="A region store of the pictures.  [default: their files are read]")
@click.option("--set", "pairs", multiple=True, metavar="columns.ROLE=NAME", help="Which column holds what.")
@click.option("--whole", is_flag=True, help="CATALOGUE is all there is: what it does not have is deleted.")
@click.option("--delete", multiple=True, metavar="ID", help="A product to take out; may be given again.")
@click.option("--delete-file", type=FILE, help="A file of ids to take out, one a line.")
@click.option("--list-versions", is_flag=True, help="What was changed when.")
@click.option("--restore", type=int, metavar="VERSION", help="Make an older version the newest again.")
@click.option("--measure", is_flag=True, help="Measure how much of the exact answer a cascade finds.")
@click.option("--topics", type=FILE, help="The topics of --measure, one a line.  [default: titles of products]")
@click.option("--workers", type=click.IntRange(0), help="Processes that read pictures.  [default: one a core]")
def index(
    screen: Screen,
    catalogue: Path | None,
    run: str | None,
    revision: str | None,
    out: Path,
    store: str | None,
    regions: Path | None,
    pairs: tuple[str, ...],
    whole: bool,
    delete: tuple[str, ...],
    delete_file: Path | None,
    list_versions: bool,
    restore: int | None,
    measure: bool,
    topics: Path | None,
    workers: int | None,
) -> int:
    """Make an index of products, or change it.

    CATALOGUE is a .csv, .tsv or .jsonl file with a picture and a title for each product, and any other columns.
    Products are added, and replaced where their id is there. Each change is a version, seen as a whole or not at all
    by those who search meanwhile. The same command again goes on where it stopped. A product that cannot be taken is
    skipped, counted, and named in OUT/failures.jsonl; then the exit status is 3.
    """
    from interbert.config import with_settings
    from interbert.corpus.catalogue import Catalogue, Columns
    from interbert.errors import UsageError
    from interbert.recall.index import delete_products, index_catalogue, restore_version
    from interbert.settings import read_pairs

    ids = [*delete, *(_lines(delete_file) if delete_file else [])]
    wanted = sum((catalogue is not None or bool(ids), list_versions, restore is not None))
    if wanted > 1 or wanted + measure == 0:
        raise UsageError("wanted one of: a CATALOGUE and --delete, --restore, --list-versions; or --measure")
    if list_versions:
        return _versions(screen, out, store)
    report = None
    if catalogue is not None:
        if run is None:
            raise UsageError("the model is missing; say which with --from RUN")
        changes = {key.removeprefix("columns."): value for key, value in read_pairs(pairs).items()}
        report = index_catalogue(
            Catalogue(catalogue, with_settings(Columns(), changes, "column", "columns.")),
            run,
            out,
            revision=revision,
            regions=regions,
            delete=ids,
            whole=whole,
            address=store,
            workers=workers,
            progress=screen.progress,
        )
    elif ids:
        report = delete_products(out, ids, store)
    elif restore is not None:
        report = restore_version(out, restore, store)
    shown: dict[str, Any] = {"out": str(out)}
    lines: list[str] = []
    if report is not None:
        shown, lines = shown | report.to_json(), list(report.lines(out))
    if measure:
        found = _measured(screen, out, store, run, revision, topics)
        shown, lines = shown | {"measured": found}, [*lines, _measured_line(found)]
    screen.show(shown, lines)
    if report is None or not report.failures:
        return 0
    return IN_PART if report.seen else FAILED


@verb(
    "recall",
    examples=(
        'interbert recall demo/index "a bird"',
        'interbert recall demo/index "a bird" --mode cascade --threshold 0.9 --top-k 5 --json',
        'interbert recall index "red shoes" --where "category = \'shoes\' and price < 300"',
        "interbert recall demo/index --topics demo/catalogue/topics.txt --top-k 3",
        "interbert recall demo/index --topics topics.jsonl --out recalled.jsonl --keep",
    ),
)
@click.argument("index", type=FOLDER)
@click.argument("topic", required=False)
@click.option("--topics", type=FILE, help="A file of topics: a line each, or .jsonl objects, see docs/recall.md.")
@click.option("--out", type=FILE, help="Of --topics: a line of JSON a topic. The same command goes on.")
@click.option("--keep", is_flag=True, help="Of --topics: keep them in the index, for  interbert topics.")
@click.option("--threshold", default=0.6, show_default=True, help="Only scores strictly above it.")
@click.option("--top-k", type=click.IntRange(1), help="Only the best so many of those.  [default: all]")
@click.option("--where", metavar="FILTER", help="Only products whose columns pass.")
@click.option(
    "--mode",
    default="exact",
    show_default=True,
    type=click.Choice(("exact", "cascade")),
    help="Every product gets the full score, or the best --candidates by pictures and topic read alone.",
)
@click.option("--candidates", default=200, show_default=True, type=click.IntRange(1), help="Of a cascade.")
@precision_option
@click.option("--raw", is_flag=True, help="Scores as the model gives them, also where the run is calibrated.")
@click.option("--at-version", type=int, help="Of the index.  [default: the newest]")
@click.option("--store", metavar="postgresql://…", help=_STORE)
@click.option("--on", metavar="ray|ray://HOST:PORT", help="Score on the machines of a Ray cluster, see docs/scale.md.")
@click.option("--from", "run", help="The model the index was made with.  [default: where it was then]")
@click.option("--revision", help="Of an id on the hub.")
def recall(
    screen: Screen,
    index: Path,
    topic: str | None,
    topics: Path | None,
    out: Path | None,
    keep: bool,
    threshold: float,
    top_k: int | None,
    where: str | None,
    mode: Literal["exact", "cascade"],
    candidates: int,
    precision: str,
    raw: bool,
    at_version: int | None,
    store: str | None,
    on: str | None,
    run: str | None,
    revision: str | None,
) -> int:
    """The products of a topic, best first.

    Those whose picture has a score strictly above the threshold, with score, id and title. A filter compares columns:
    category = 'shoes' and (price < 300 or brand in ('a', 'b')) and not title like '%used%'.
    """
    from interbert.errors import UsageError
    from interbert.recall.distributed import open_cluster_searcher
    from interbert.recall.measuring import measure_if_unknown
    from interbert.recall.search import Question, open_searcher

    if (topic is None) == (topics is None):
        raise UsageError("wanted a TOPIC or --topics FILE" + ("" if topic is None else ", not both"))
    if (out is not None or keep) and (topics is None or out is None):
        raise UsageError("--out FILE goes with --topics FILE, and --keep with both")
    question = Question(threshold, mode, top_k, where, candidates)
    if on is None:
        searcher = open_searcher(
            index, run, revision, at_version, address=store, calibrated=not raw, precision=precision
        )
    else:
        searcher = open_cluster_searcher(
            on, index, run, revision, at_version, address=store, calibrated=not raw, precision=precision
        )
    if mode == "cascade":
        measure_if_unknown(searcher, screen.progress)
    if topics is not None:
        return _recalled_topics(screen, searcher, question, index, store, topics, out, keep)
    assert topic is not None
    answer = searcher.recall(topic, question)
    screen.show(answer.to_json(), _answer_lines(screen, answer, titled=False))
    return 0


def _recalled_topics(
    screen: Screen,
    searcher: Searcher,
    question: Question,
    index: Path,
    store: str | None,
    file: Path,
    out: Path | None,
    keep: bool,
) -> int:
    """Many topics, into a file or onto the screen."""
    from interbert.recall.bundles import recall_topics, write_bundles
    from interbert.recall.topics import find_topics, open_topics, read_topics

    asked = read_topics(file)
    kept = (open_topics if keep else find_topics)(index, store)
    if out is not None:
        report = write_bundles(searcher, asked, question, out, kept=kept, keep=keep, progress=screen.progress)
        screen.show({"out": str(out), **report.to_json()}, report.lines(out))
        return IN_PART if report.failures else 0
    answers = (answer for _, answer in recall_topics(searcher, asked, question, kept, screen.progress))
    if screen.as_json:
        screen.show({"answers": [answer.to_json() for answer in answers]}, ())
    else:
        screen.show(None, (line for answer in answers for line in _answer_lines(screen, answer, titled=True)))
    return 0


def _answer_lines(screen: Screen, answer: Answer, titled: bool) -> Iterator[str]:
    if titled:
        yield f"# {answer.topic}"
    yield from (f"{hit.score:.4f}  {plain(hit.id)}  {plain(hit.title)}" for hit in answer.hits)
    screen.say(_summary(answer))


def _summary(answer: Answer) -> str:
    parts = [f"'{answer.topic}': {answer.recalled} of {answer.passed} products above {answer.question.threshold}"]
    if answer.measured is not None:
        known = answer.measured
        parts.append(
            f"{answer.scored} scored, which finds {known['recall']:.0%} of the best {known['answers']} "
            f"(measured on {known['topics']} topics and {known['pictures']} pictures)"
        )
    parts.append(f"{answer.seconds:.2f} s")
    return ", ".join(parts)


def _versions(screen: Screen, out: Path, store: str | None) -> int:
    from interbert.recall.index import open_index

    versions = open_index(out, store).versions()
    lines = [
        f"{one.number}  {one.created}  {one.products} products, {one.added} added, {one.replaced} replaced, "
        f"{one.deleted} deleted: {one.what}"
        for one in versions
    ]
    screen.show({"out": str(out), "versions": [asdict(one) for one in versions]}, lines)
    return 0


def _measured(
    screen: Screen, out: Path, store: str | None, run: str | None, revision: str | None, topics: Path | None
) -> dict[str, Any]:
    from interbert.recall.measuring import measure
    from interbert.recall.search import CANDIDATES, open_searcher

    searcher = open_searcher(out, run, revision, address=store)
    found = measure(searcher, _titles(topics) if topics else None, progress=screen.progress)
    return found.to_json(CANDIDATES)


def _measured_line(found: dict[str, Any]) -> str:
    return (
        f"a cascade of {found['candidates']} finds {found['recall']:.1%} of the best {found['answers']}, measured on "
        f"{found['topics']} topics and {found['pictures']} of {found['of']} pictures"
    )


def _lines(path: Path) -> list[str]:
    """Of a file of ids."""
    from interbert.scoring.page import read_topics

    return read_topics(path)


def _titles(path: Path) -> list[str]:
    from interbert.recall.topics import read_topics

    return [topic.title for topic in read_topics(path)]
