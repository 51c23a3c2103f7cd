"""The verb `spam`: the filter of titles, trained on labelled ones and tried out."""

from __future__ import annotations

from pathlib import Path

import click

from interbert.cli.screen import Screen, verb

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
WORDS = click.option(
    "--words", type=FOLDER, help="Lists of words in place of the package's: .txt files named after their kinds."
)
SEGMENTER = click.option(
    "--segmenter", default="rjieba", show_default=True, help="Finds the words: rjieba, jieba; plain for English."
)
USER_WORDS = click.option("--user-words", type=FILE, help="Words that the segmenter's dictionary lacks, one a line.")


@verb("train", examples=("interbert spam train labelled.tsv --out spam.safetensors",))
@click.argument("file", type=FILE)
@click.option("--out", required=True, type=FILE, help="The classifier.")
@click.option("--held-out", default=0.2, show_default=True, type=click.FloatRange(0, 1), help="Share that measures it.")
@click.option("--seed", default=0, show_default=True, help="Of the order in which it learns.")
@WORDS
@SEGMENTER
@USER_WORDS
def spam_train(
    screen: Screen,
    file: Path,
    out: Path,
    held_out: float,
    seed: int,
    words: Path | None,
    segmenter: str,
    user_words: Path | None,
) -> None:
    """Train the spam classifier on labelled titles.

    FILE has a title a line: its label (0 or ok, 1 or spam), TAB, the title. Prints precision and recall on the titles
    that were held out, of the word lists, of the classifier at several thresholds, and of both together."""
    from interbert.text.segmenting import load_segmenter
    from interbert.text.spam import WordList
    from interbert.text.spam_training import train_spam

    report = train_spam(file, out, load_segmenter(segmenter, user_words), WordList.load(words), held_out, seed)
    screen.show(report.to_json(), [f"{out}: trained on {report.trained_on:,} titles", *report.lines()])


@verb(
    "check",
    examples=(
        "interbert spam check titles.txt",
        "interbert spam check catalogue.csv --model spam.safetensors --threshold 0.8",
    ),
)
@click.argument("file", type=FILE)
@click.option("--model", type=FILE, help="A classifier of `interbert spam train`, beside the word lists.")
@click.option("--threshold", default=0.5, show_default=True, help="From this probability on it is spam.")
@WORDS
@SEGMENTER
@USER_WORDS
def spam_check(
    screen: Screen,
    file: Path,
    model: Path | None,
    threshold: float,
    words: Path | None,
    segmenter: str,
    user_words: Path | None,
) -> None:
    """Show which titles the filter would drop, and why.

    FILE has a title a line, or is a .csv, .tsv or .jsonl catalogue with a column of titles."""
    from interbert.corpus.catalogue import titles_of
    from interbert.text.segmenting import load_segmenter
    from interbert.text.spam import SpamFilter, WordList
    from interbert.text.spam_model import SpamModel

    judge = SpamFilter(WordList.load(words), SpamModel.load(model) if model else None, threshold)
    cutter, titles = load_segmenter(segmenter, user_words), titles_of(file)
    verdicts = judge.judge(titles, [cutter.words(title) for title in titles])
    found = [(title, *verdict) for title, verdict in zip(titles, verdicts, strict=True) if verdict]
    screen.show(
        {"titles": len(titles), "spam": [dict(zip(("title", "kind", "why"), one, strict=True)) for one in found]},
        [*(f"{kind}\t{why}\t{title}" for title, kind, why in found), f"{len(found):,} of {len(titles):,} titles"],
    )


spam = click.Group(
    "spam", commands={"train": spam_train, "check": spam_check}, help="The filter of titles that are no goods."
)
