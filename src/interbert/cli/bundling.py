"""The verb for what people do with recalled topics (appendix A.4, Figure 4): look at them, keep, drop, export pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from interbert.cli.screen import Screen, plain, verb

if TYPE_CHECKING:
    from interbert.recall.topics import Bundle, Card, Topics

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)


@verb(
    "topics",
    examples=(
        "interbert topics index",
        'interbert topics index "red shoes"',
        'interbert topics index "red shoes" --keep 4711 --drop 4712 --unsay 4713',
        "interbert topics index --export pairs.jsonl",
        "interbert topics index --export kept.jsonl --only kept",
        'interbert topics index "red shoes" --delete',
    ),
)
@click.argument("index", type=FOLDER)
@click.argument("name", required=False)
@click.option("--keep", multiple=True, metavar="ID", help="This product belongs to the topic; may be given again.")
@click.option("--drop", multiple=True, metavar="ID", help="It does not: it is left out from here on.")
@click.option("--unsay", multiple=True, metavar="ID", help="Take back what was said of it.")
@click.option("--export", type=FILE, help="Write all reviews as labelled pairs, for calibrate and corpus.")
@click.option("--only", type=click.Choice(("kept", "dropped")), help="Of --export: pairs of one label.")
@click.option("--delete", is_flag=True, help="Forget the topic; reviews of its products stay.")
@click.option("--store", metavar="postgresql://…", help="The server of an index that many machines share.")
def topics(
    screen: Screen,
    index: Path,
    name: str | None,
    keep: tuple[str, ...],
    drop: tuple[str, ...],
    unsay: tuple[str, ...],
    export: Path | None,
    only: Literal["kept", "dropped"] | None,
    delete: bool,
    store: str | None,
) -> None:
    """The topics kept in an index, and their reviews.

    All of them, or one with the products that it bundles, best first: `+` was kept, `-` dropped. They are recalled and
    kept with  interbert recall INDEX --topics FILE --out FILE --keep.
    """
    from interbert.errors import UsageError
    from interbert.recall.topics import open_topics

    said = dict.fromkeys(keep, True) | dict.fromkeys(drop, False) | dict.fromkeys(unsay)
    if len(said) < len(keep) + len(drop) + len(unsay):
        raise UsageError("a product was given twice; say of each one thing")
    if (said or delete) and name is None:
        raise UsageError("--keep, --drop, --unsay and --delete are of a topic; wanted its NAME")
    if sum((bool(said), delete, export is not None)) > 1 or (export is not None and name is not None):
        raise UsageError("wanted one of: reviews of a topic, --delete of a topic, --export of all reviews")
    if only is not None and export is None:
        raise UsageError("--only goes with --export FILE")
    kept = open_topics(index, store)
    if export is not None:
        counts = kept.export(export, only)
        line = f"{export}: {counts['kept']} pairs kept, {counts['dropped']} dropped; their pictures: {index}/regions"
        screen.show({"out": str(export), **counts}, [line])
    elif name is None:
        cards = kept.cards()
        screen.show({"topics": [asdict(card) for card in cards]}, map(_card_line, cards))
    elif delete:
        kept.delete(name)
        screen.show({"deleted": name}, [f"'{plain(name)}' is forgotten"])
    else:
        if said:
            kept.review_all(name, said)
        _show(screen, kept, name)


def _show(screen: Screen, kept: Topics, name: str) -> None:
    bundle = kept.get(name)
    cover = None if bundle.cover is None else bundle.cover.id
    screen.show({**asdict(bundle), "cover": cover}, _bundle_lines(bundle))


def _card_line(card: Card) -> str:
    cover = f", cover {plain(card.cover.id)}" if card.cover else ""
    reviews = f", {card.kept} kept, {card.dropped} dropped" if card.kept or card.dropped else ""
    return f"{plain(card.topic.name)}  {card.products} of {card.recalled} recalled{reviews}{cover}"


def _bundle_lines(bundle: Bundle) -> Iterator[str]:
    yield f"# {plain(bundle.topic.title)}" + (f": {plain(bundle.topic.sub_title)}" if bundle.topic.sub_title else "")
    for one in (*bundle.products, *bundle.dropped):
        mark = {None: " ", True: "+", False: "-"}[one.kept]
        score = "     -" if one.score is None else f"{one.score:.4f}"
        yield f"{score} {mark} {plain(one.id)}  {plain(one.title)}"
