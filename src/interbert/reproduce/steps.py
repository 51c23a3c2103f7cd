"""The steps that tables are made of, as plain data: what each takes, the command it equals, and the doing of it.

A step is done once, in a folder below DIR that has its name, by a function of the library that goes on where it
stopped. Which is done, and what it found, is kept by `running.py`.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpus
from interbert.corpus.readers import Captions
from interbert.files import sha256_of
from interbert.pretraining.evaluation import evaluate_run
from interbert.pretraining.job import Pretraining
from interbert.pretraining.run import is_without_checkpoints, pretrain
from interbert.recipes import pretraining_recipe
from interbert.reproduce.cost import Cost
from interbert.reproduce.processes import gpus, under_torchrun
from interbert.settings import changed, read_pairs
from interbert.task_recipes import finetuning_recipe
from interbert.tasks.evaluation import evaluate_task
from interbert.tasks.finetuning import Finetuning, finetune
from interbert.tasks.task import Asked
from interbert.text.tokenizer import Tokenizer
from interbert.vision.extractor import Extractor, extract_images, image_sources
from interbert.vision.store import RegionStore
from interbert.weights.bert import find_bert

HASHED_LETTERS = 12


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is done once. name: unique in DIR.  root: DIR.  needs: what is done before."""

    has_folder: ClassVar[bool] = True  # without which it is not done
    name: str
    root: Path
    needs: tuple[Step, ...] = ()
    cost: Cost = field(default=Cost(), compare=False)

    @property
    def folder(self) -> Path:
        """Where it leaves what it makes."""
        return self.root / self.name

    def command(self) -> list[str]:
        """The command that does the same; for what has none, words that say what is done."""
        raise NotImplementedError

    def setting(self) -> dict[str, Any]:
        """JSON values that must be equal where a step counts as done."""
        return {"command": self.command()}

    def do(self, progress: bool) -> dict[str, Any]:
        """Does it, from where it stopped. Returns JSON values for the report."""
        raise NotImplementedError

    def leftovers(self) -> list[Path]:
        """What is needed no more when it is done."""
        return []


@dataclass(frozen=True, kw_only=True)
class Extract(Step):
    """Regions of pictures into a region store."""

    images: Path
    extractor: str = "embedded"
    max_regions: int = 36
    min_regions: int = 10
    min_confidence: float = 0.2
    mirrored: bool = False

    def command(self) -> list[str]:
        """`interbert extract`."""
        options = ["--extractor", self.extractor, "--max-regions", self.max_regions, "--min-regions", self.min_regions]
        options += ["--min-confidence", self.min_confidence, *(["--mirrored"] if self.mirrored else [])]
        return ["interbert", "extract", str(self.images), "--out", str(self.folder), *map(str, options)]

    def do(self, progress: bool) -> dict[str, Any]:
        """Pictures that cannot be read are counted."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        made = Extractor.from_name(
            self.extractor,
            max_regions=self.max_regions,
            min_regions=self.min_regions,
            min_confidence=self.min_confidence,
        )
        report = extract_images(
            image_sources(self.images), made, self.folder, progress=progress, mirrored=self.mirrored
        )
        return {"pictures": report.done + report.already_there, "failed": len(report.failed)}


@dataclass(frozen=True, kw_only=True)
class Stored(Step):
    """A region store that is there."""

    path: Path

    @property
    def folder(self) -> Path:
        """The store."""
        return self.path

    def command(self) -> list[str]:
        """`interbert store info`."""
        return ["interbert", "store", "info", str(self.path)]

    def do(self, progress: bool) -> dict[str, Any]:
        """Looks at it."""
        with RegionStore(self.path) as store:
            return {"pictures": len(store), "extractor": store.extractor.name}


@dataclass(frozen=True, kw_only=True)
class Build(Step):
    """A corpus. bert: whose vocabulary.  settings: of `BuildOptions`.  leave_out: corpora of test pictures."""

    captions: Path
    format: str
    store: Step
    bert: str
    settings: tuple[str, ...] = ()
    leave_out: tuple[Build, ...] = ()

    def command(self) -> list[str]:
        """`interbert corpus`."""
        words = ["interbert", "corpus", str(self.captions), "--format", self.format]
        words += ["--regions", str(self.store.folder), "--out", str(self.folder), "--tokenizer", f"bert:{self.bert}"]
        words += [word for corpus in self.leave_out for word in ("--leave-out-corpus", str(corpus.folder))]
        return [*words, *settings_words(self.settings)]

    def do(self, progress: bool) -> dict[str, Any]:
        """Builds it; what a broken try has left is replaced."""
        others = tuple(str(corpus.folder) for corpus in self.leave_out)
        options = changed(BuildOptions(leave_out_corpora=others), read_pairs(self.settings))
        with RegionStore(self.store.folder) as store:
            captions, tokenizer = Captions(self.captions, self.format), Tokenizer.load(find_bert(self.bert))
            report = build_corpus(captions, store, tokenizer, self.folder, options, replace=True, progress=progress)
        corpus = Corpus(self.folder)
        return {"texts": len(corpus), "pictures": corpus.images, "splits": report.splits, "hash": short(corpus.digest)}


def _begin_anew(run: Path) -> None:
    """Removes a finished run, whose checkpoints are gone: something that it needs was done again since."""
    if is_without_checkpoints(run):
        shutil.rmtree(run)


@dataclass(frozen=True, kw_only=True)
class Pretrain(Step):
    """A pretraining run. recipe, settings, init: as the command has them."""

    corpora: tuple[Build, ...]
    recipe: str
    settings: tuple[str, ...] = ()
    init: str | None = None

    @property
    def plan(self) -> Pretraining:
        """The recipe with its changes."""
        return changed(pretraining_recipe(self.recipe), read_pairs(self.settings))

    def command(self) -> list[str]:
        """`interbert pretrain`."""
        folders = [str(corpus.folder) for corpus in self.corpora]
        begun = [] if self.init is None else ["--init", self.init]
        words = ["interbert", "pretrain", *folders, "--out", str(self.folder), "--recipe", self.recipe]
        return [*words, *begun, *settings_words(self.settings)]

    def setting(self) -> dict[str, Any]:
        """The command and the recipe's whole numbers."""
        return super().setting() | {"plan": asdict(self.plan)}

    def do(self, progress: bool) -> dict[str, Any]:
        """Trains; on several GPUs by torchrun."""
        _begin_anew(self.folder)
        if gpus() > 1:
            return under_torchrun(self.command(), gpus())
        folders = [corpus.folder for corpus in self.corpora]
        return asdict(pretrain(folders, self.folder, self.plan, init=self.init, progress=progress))

    def leftovers(self) -> list[Path]:
        """Checkpoints: the run's own weights are there."""
        return [self.folder / "checkpoints"]


@dataclass(frozen=True, kw_only=True)
class Finetune(Step):
    """A finetuned run. start: a pretrained run, or a new model's name.  data: what the task opens."""

    task: str
    data: Path
    start: Step | str
    recipe: str
    settings: tuple[str, ...] = ()
    store: Path | None = None

    @property
    def plan(self) -> Finetuning:
        """The recipe with its changes."""
        return changed(finetuning_recipe(self.task, self.recipe), read_pairs(self.settings))

    @property
    def begun(self) -> str:
        """As `--from` has it."""
        return self.start if isinstance(self.start, str) else str(self.start.folder)

    def command(self) -> list[str]:
        """`interbert finetune`."""
        words = ["interbert", "finetune", self.task, str(self.data), "--from", self.begun, "--out", str(self.folder)]
        words += ["--recipe", self.recipe, *([] if self.store is None else ["--store", str(self.store)])]
        return [*words, *settings_words(self.settings)]

    def setting(self) -> dict[str, Any]:
        """The command and the recipe's whole numbers."""
        return super().setting() | {"plan": asdict(self.plan)}

    def do(self, progress: bool) -> dict[str, Any]:
        """Trains; on several GPUs by torchrun."""
        data = files_of(self.data)
        _begin_anew(self.folder)
        if gpus() > 1:
            return under_torchrun(self.command(), gpus()) | data
        made = finetune(self.task, self.data, self.begun, self.folder, self.plan, store=self.store, progress=progress)
        return asdict(made) | data

    def leftovers(self) -> list[Path]:
        """Checkpoints and weights of validations: the run's own weights are there."""
        return [self.folder / "checkpoints", self.folder / "best"]


@dataclass(frozen=True, kw_only=True)
class Evaluate(Step):
    """A run measured on a split. zero_shot: as it was pretrained.  queries: so many texts rank; None: all."""

    has_folder: ClassVar[bool] = False
    task: str
    data: Path
    run: Step
    split: str
    zero_shot: bool = False
    store: Path | None = None
    queries: int | None = None
    processes: int | None = None

    def command(self) -> list[str]:
        """`interbert evaluate`."""
        words = ["interbert", "evaluate", self.task, str(self.data), "--from", str(self.run.folder)]
        words += ["--split", self.split, *(["--zero-shot"] if self.zero_shot else [])]
        words += [] if self.store is None else ["--store", str(self.store)]
        words += [] if self.queries is None else ["--queries", str(self.queries)]
        return words if self.processes is None else [*words, "--processes", str(self.processes)]

    def do(self, progress: bool) -> dict[str, Any]:
        """What `interbert evaluate --json` gives; "metrics" has the figures."""
        asked = Asked(
            run=self.run.folder,
            split=self.split,
            queries=self.queries,
            processes=self.processes,
            precision="auto",
            progress=progress,
        )
        return evaluate_task(self.task, self.data, asked, zero_shot=self.zero_shot, store=self.store)


@dataclass(frozen=True, kw_only=True)
class EvaluatePretraining(Step):
    """What a pretrained run knows of hidden words and regions."""

    has_folder: ClassVar[bool] = False
    corpus: Build
    run: Step
    split: str
    queries: int

    def command(self) -> list[str]:
        """`interbert evaluate pretraining`."""
        words = ["interbert", "evaluate", "pretraining", str(self.corpus.folder), "--from", str(self.run.folder)]
        return [*words, "--split", self.split, "--queries", str(self.queries)]

    def do(self, progress: bool) -> dict[str, Any]:
        """ "metrics" has words and regions, "words_mlm" and on, and the matching accuracy."""
        found = evaluate_run(
            self.run.folder, self.corpus.folder, split=self.split, queries=self.queries, progress=progress
        )
        return {"metrics": found["hidden"] | {"matching": found["matching_accuracy"]}, "split": self.split}


def files_of(data: Path) -> dict[str, Any]:
    """{"data": what a task's data are: a corpus's digest, or the names, sizes and digests of files}."""
    if (data / "corpus.json").is_file():
        return {"data": {"hash": short(Corpus(data).digest)}}
    kinds = (".tsv", ".csv", ".jsonl", ".json", ".gz")
    there = [data] if data.is_file() else sorted(path for path in data.iterdir() if path.name.endswith(kinds))
    each = [(path.name, path.stat().st_size, sha256_of(path)) for path in there]
    whole = hashlib.sha256(repr([(name, digest) for name, _, digest in each]).encode()).hexdigest()
    return {"data": {"files": len(each), "bytes": sum(size for _, size, _ in each), "hash": short(whole)}}


def settings_words(settings: tuple[str, ...]) -> list[str]:
    """As a command has them."""
    return [word for setting in settings for word in ("--set", setting)]


def short(digest: str) -> str:
    """What a report shows of a digest."""
    return digest[:HASHED_LETTERS]
