"""Verbs that make a model: corpus, pretrain."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from interbert.cli.screen import Screen, verb
from interbert.errors import UsageError

if TYPE_CHECKING:
    from interbert.corpus.products import ProductCaptions, ProductOptions
    from interbert.text.segmenting import Segmenter

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
FORMATS = ("coco", "flickr", "karpathy", "tsv", "csv", "jsonl", "products")
VOCABULARIES = {"en": "bert:minilm", "zh": "bert:bert-base-chinese"}  # where none is given


@verb(
    "corpus",
    examples=(
        "interbert corpus demo/catalogue/catalogue.jsonl --format jsonl --regions demo/regions "
        "--out demo/corpus --set validation_share=0.2",
        "interbert corpus captions.json --format coco --regions regions --out corpus --leave-out-store test-regions",
        "interbert corpus shop.csv --format products --language zh --tokenizer vocab.txt --regions regions "
        "--out clothes --category 女装 --set columns.title=商品名",
        "interbert corpus titles.jsonl --format products --language zh --tokenizer vocab.txt --text-alone --out titles",
    ),
)
@click.argument("source", type=FOLDER)
@click.option("--format", "kind", required=True, type=click.Choice(FORMATS), help="How SOURCE is written.")
@click.option("--regions", type=FOLDER, help="The region store of the pictures.")
@click.option("--text-alone", is_flag=True, help="In place of --regions: a corpus of texts without pictures.")
@click.option("--out", required=True, type=FOLDER, help="The corpus.")
@click.option(
    "--tokenizer",
    help="A vocabulary's file, or bert:FOLDER_OR_ID.  [default: bert:minilm, of Chinese bert:bert-base-chinese]",
)
@click.option("--language", default="en", show_default=True, type=click.Choice(("en", "zh")), help="Of the texts.")
@click.option("--text-field", help="The column or key of the texts.  [default: the first known]")
@click.option("--image-field", help="The column or key of the pictures.  [default: the first known]")
@click.option("--category", "categories", multiple=True, help="Of products: only these; may be given again.")
@click.option(
    "--segmenter",
    type=click.Choice(("rjieba", "jieba", "none")),
    help="Finds the words of Chinese texts.  [default: rjieba, of English none]",
)
@click.option("--user-words", type=FILE, help="Words that the segmenter's dictionary lacks, one a line.")
@click.option("--spam-words", type=FOLDER, help="Of products: lists of words in place of the package's.")
@click.option("--spam-model", type=FILE, help="Of products: a classifier of `interbert spam train`.")
@click.option("--no-spam-filter", is_flag=True, help="Of products: keep spam.")
@click.option("--leave-out-store", multiple=True, type=FOLDER, help="Region store of a test set: none of its pictures.")
@click.option("--leave-out-corpus", multiple=True, type=FOLDER, help="Corpus: none of its held-out pictures.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="max_words, validation_share, test_share, …")
@click.option("--replace", is_flag=True, help="Put it in the place of an older corpus at OUT.")
def corpus(
    screen: Screen,
    source: Path,
    kind: str,
    regions: Path | None,
    text_alone: bool,
    out: Path,
    tokenizer: str | None,
    language: Literal["en", "zh"],
    text_field: str | None,
    image_field: str | None,
    categories: tuple[str, ...],
    segmenter: str | None,
    user_words: Path | None,
    spam_words: Path | None,
    spam_model: Path | None,
    no_spam_filter: bool,
    leave_out_store: tuple[Path, ...],
    leave_out_corpus: tuple[Path, ...],
    pairs: tuple[str, ...],
    replace: bool,
) -> None:
    """Join captions, or the titles of products, with their pictures' regions.

    Says what was dropped and why. SOURCE is a file; of products also a folder. A catalogue's columns are found by their
    usual names, else named: --set columns.title=NAME, and columns.image, id, category, brand, seller, price, split.
    Its titles are cleaned: --set cleaning.max_characters, cleaning.script=simplified, per_title, per_seller, alike.
    Its columns make further texts: --set 'topics=["{colour} {category}"]'.

    With --text-alone no pictures are read and none are needed: for `interbert pretrain --recipe chinese-texts`."""
    from interbert.config import with_settings
    from interbert.corpus.build import BuildOptions, build_corpus
    from interbert.corpus.products import ProductOptions, product_build_options
    from interbert.corpus.readers import Captions, Fields
    from interbert.settings import read_pairs
    from interbert.text.segmenting import load_segmenter
    from interbert.text.tokenizer import Tokenizer
    from interbert.vision.store import RegionStore
    from interbert.weights.bert import find_vocabulary

    if (regions is None) != text_alone:
        got = "both" if text_alone else "neither"
        raise UsageError(f"--regions STORE, or --text-alone for texts without pictures: got {got}, wanted one of them")
    is_products, settings = kind == "products", read_pairs(pairs)
    if is_products and (text_field or image_field):
        raise UsageError("--text-field, --image-field: a catalogue's columns are named by --set columns.title=NAME")
    if not is_products and (categories or spam_words or spam_model or no_spam_filter):
        raise UsageError("--category and the spam filter are of --format products")
    of_products = _of_products(settings) if is_products else {}
    options = with_settings(
        product_build_options(language) if is_products else BuildOptions(language=language),
        {
            "leave_out_stores": [str(place) for place in leave_out_store],
            "leave_out_corpora": [str(place) for place in leave_out_corpus],
            **{key: value for key, value in settings.items() if key not in of_products},
        },
    )
    chosen = segmenter or ("rjieba" if language == "zh" else "none")
    if chosen == "none" and user_words:
        raise UsageError("--user-words: there is no segmenter that they are for; give --segmenter rjieba")
    cutter = None if chosen == "none" else load_segmenter(chosen, user_words)
    captions: Captions | ProductCaptions
    if is_products:
        wanted = with_settings(ProductOptions(categories=categories), of_products)
        spam = None if no_spam_filter else (spam_words, spam_model)
        needed = ("title",) if text_alone else ("title", "image")
        captions = _products(source, language, wanted, cutter, spam, needed)
    else:
        captions = Captions(source, kind, Fields(text_field, image_field))
    tokenizer = tokenizer or VOCABULARIES[language]
    vocabulary = find_vocabulary(tokenizer.removeprefix("bert:")) if tokenizer.startswith("bert:") else Path(tokenizer)
    with nullcontext() if regions is None else RegionStore(regions) as store:
        report = build_corpus(
            captions,
            store,
            Tokenizer.load(vocabulary),
            out,
            options,
            segmenter=cutter,
            replace=replace,
            progress=screen.progress,
        )
    screen.show(report.to_json(), [f"{out}:", *report.lines()])
    few = sum(count for why, count in report.dropped.items() if "of a confidence over" in why)
    if 10 * few > report.captions["read"]:
        screen.say("many pictures have too few regions of that confidence; regions of any:  --set min_confidence=0")


def _of_products(settings: dict[str, str]) -> dict[str, str]:
    """Those settings that are fields of `ProductOptions`."""
    from interbert.corpus.products import ProductOptions

    names = {field.name for field in fields(ProductOptions)}
    return {key: value for key, value in settings.items() if key.partition(".")[0] in names}


def _products(
    source: Path,
    language: Literal["en", "zh"],
    options: ProductOptions,
    segmenter: Segmenter | None,
    spam: tuple[Path | None, Path | None] | None,
    needed: tuple[str, ...],
) -> ProductCaptions:
    """A catalogue's captions. spam: lists of words and a classifier, None for the package's own; None: no filter.

    needed: what must have a column.
    """
    from interbert.corpus.catalogue import Catalogue
    from interbert.corpus.products import ProductCaptions
    from interbert.text.spam import SpamFilter, WordList
    from interbert.text.spam_model import SpamModel
    from interbert.text.titles import TitleCleaner

    judge = None
    if spam is not None:
        words, model = spam
        judge = SpamFilter(WordList.load(words), SpamModel.load(model) if model else None, options.spam_threshold)
    catalogue = Catalogue(source, options.columns, needed)
    return ProductCaptions(catalogue, TitleCleaner(language, options.cleaning, segmenter, judge), options)


@verb(
    "pretrain",
    examples=(
        "interbert pretrain demo/corpus --out demo/run --recipe demo --init bert:minilm",
        "interbert pretrain corpus --out runs/mine --recipe small --set training.seed=1 --set stages.epochs=4",
        "interbert pretrain corpus --out runs/mine --recipe small --print-config",
    ),
)
@click.argument("corpora", nargs=-1, required=True, type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="The run, made or continued.")
@click.option("--recipe", required=True, help="The settings to begin with: paper, released, small, tiny, …")
@click.option(
    "--init",
    help="bert:FOLDER_OR_ID, bert:minilm (shipped), a run's folder, or new-words:RUN for another language's words.  "
    "[default: at random]",
)
@click.option("--config", "config_file", type=FILE, help="A TOML file of settings that differ from the recipe.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting; may be given again.")
@click.option(
    "--parallel",
    type=click.Choice(["auto", "ddp", "fsdp"]),
    default="auto",
    show_default=True,
    help="How torchrun's processes share the work; fsdp also shares the weights.",
)
@click.option(
    "--licence", default="unknown", show_default=True, help="Of the weights, as the model card says it: mit, …"
)
@click.option("--print-config", is_flag=True, help="Print all settings as TOML and do nothing else.")
def pretrain(
    screen: Screen,
    corpora: tuple[Path, ...],
    out: Path,
    recipe: str,
    init: str | None,
    config_file: Path | None,
    pairs: tuple[str, ...],
    parallel: Literal["auto", "ddp", "fsdp"],
    licence: str,
    print_config: bool,
) -> None:
    """Pretrain a model on corpora.

    The same command again goes on exactly where it stopped."""
    from interbert.recipes import pretraining_recipe
    from interbert.settings import changed, read_pairs, read_toml, to_toml

    plan = changed(pretraining_recipe(recipe), read_toml(config_file) if config_file else {})
    plan = changed(plan, read_pairs(pairs))
    if print_config:
        screen.show(asdict(plan), to_toml(plan).splitlines())
        return
    from interbert.pretraining.run import pretrain as pretrain_corpora
    from interbert.training.parallel import is_first_process

    summary = pretrain_corpora(
        list(corpora), out, plan, init=init, progress=screen.progress, parallel=parallel, licence=licence
    )
    if not is_first_process():
        return
    numbers = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in summary.validation.items())
    begun = "" if summary.resumed_from is None else f", gone on from step {summary.resumed_from:,}"
    screen.show(
        asdict(summary),
        [
            f"{out}: {summary.steps:,} steps, {summary.pairs:,} pairs, {summary.seconds / 60:.1f} minutes{begun}",
            *([f"held out: {numbers}"] if numbers else []),
        ],
    )
