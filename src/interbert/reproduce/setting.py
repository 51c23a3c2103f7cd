"""What tables are made at: a scale's data, recipes and machine, as the functions of `scales.py` fill them in.

Tables ask it for steps: a pretrained run, a finetuned one, a measured one. Steps of one name are one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from interbert.errors import InterbertError
from interbert.recipes import pretraining_recipe
from interbert.reproduce.cost import BACKWARD, Cost, Machine, pair_operations, stage_operations
from interbert.reproduce.steps import Build, Evaluate, EvaluatePretraining, Finetune, Pretrain, Step

OTHER_SIZES = (
    "The lines of the paper are of its own data and sizes: to be read beside ours, not to be compared with them."
)
HIDDEN_QUERIES = 32  # texts that rank where hidden words and regions are what is asked


@dataclass(frozen=True)
class Source:
    """The data of a task. path: what the task opens; of retrieval, a corpus.  split: the one that is tested.

    settings: of its finetuning.  queries: so many texts rank in the test; None: all.  missing: why it is not there, ""
    where it is.  too_few: why nothing can be judged by it, "" where it can.

    For costs alone: examples, training examples an epoch; pairs, texts with a picture of each (of four choices, 4);
    tested, pairs that the test scores; words, regions, of a pair in the mean.
    """

    about: str
    path: Path
    needs: tuple[Step, ...] = ()
    store: Path | None = None
    split: str = "validation"
    settings: tuple[str, ...] = ()
    queries: int | None = None
    missing: str = ""
    too_few: str = ""
    examples: int = 0
    pairs: int = 1
    tested: int = 0
    words: float = 14
    regions: float = 0


@dataclass(frozen=True)
class Pairs:
    """What is pretrained on. examples: pairs an epoch.  words, regions: in the mean, for costs."""

    about: str
    corpora: tuple[Build, ...]
    examples: int
    words: float
    regions: float


@dataclass(frozen=True)
class Shop:
    """What Figure 3 is made of, beside the data of the task `products`.

    about: the model.  recipe, settings: of pretraining.  init: what it begins with.  start: a model that was not
    pretrained, as `--from` has it.  epochs: of finetuning on all data, as many more on less.  missing: why it is not
    there, "" where it is.  notes: below the figure.
    """

    about: str
    pairs: Pairs
    recipe: str
    start: str
    epochs: int
    settings: tuple[str, ...] = ()
    init: str | None = None
    missing: str = ""
    notes: tuple[str, ...] = ()

    def begun_with(self, init: str) -> Shop:
        """Pretraining begins with `init`; what was not pretrained begins with it too where it is a BERT."""
        blank, _, _ = self.start.partition("+")
        return replace(self, init=init, start=f"{blank}+{init}" if init.startswith("bert:") else self.start)


@dataclass(frozen=True)
class Setting:
    """A scale on its data, in DIR.

    recipe, init, settings: of pretraining.  ablation: ends the names of Table 4's recipes ("-small").  finetuning: name
    of the recipes of tasks.  start: a model that was not pretrained, as `--from` has it.  bert: one of BERT's layers
    alone, the first contestant of Table 5.  brief: changes to finetunings of Table 4, of which there are many.
    beside: how the paper's figures stand to ours.  tasks: name -> data.  processes: that rank; None: one a core.
    shop: of Figure 3.  missing: what the tables want and is not there, in words; "" where all is.
    """

    scale: str
    about: str
    root: Path
    seeds: int
    machine: Machine
    pairs: Pairs
    ablation_pairs: Pairs
    recipe: str
    ablation: str
    finetuning: str
    start: str
    bert: str
    tasks: Mapping[str, Source]
    init: str | None = None
    settings: tuple[str, ...] = ()
    brief: tuple[str, ...] = ()
    beside: str = OTHER_SIZES
    processes: int | None = None
    shop: Shop | None = None
    missing: str = ""

    def pretrained(
        self, name: str, settings: tuple[str, ...] = (), *, recipe: str | None = None, pairs: Pairs | None = None
    ) -> Pretrain:
        """A run in `pretrained/NAME`. recipe, pairs: others than the scale's own."""
        of = pairs or self.pairs
        step = Pretrain(
            name=f"pretrained/{name}",
            root=self.root,
            needs=of.corpora,
            corpora=of.corpora,
            recipe=recipe or self.recipe,
            settings=(*self.settings, *settings),
            init=self.init,
        )
        plan = step.plan
        operations = sum(stage_operations(one, plan.model, of.examples, of.words, of.regions) for one in plan.stages)
        return replace(step, cost=self.machine.passes(operations))

    def ablated(self, masking: str, seed: int) -> Pretrain:
        """A run of Table 4. masking: "mlm-mom", "msm-mrm" or "two-stages"."""
        settings = (f"training.seed={seed}",) if seed else ()
        recipe = masking + self.ablation
        return self.pretrained(f"{masking}/seed-{seed}", settings, recipe=recipe, pairs=self.ablation_pairs)

    def finetuned(
        self,
        task: str,
        contestant: str,
        start: Step | str,
        seed: int,
        settings: tuple[str, ...] = (),
        share: float = 1.0,
    ) -> Finetune:
        """A finetuned run in `finetuned/TASK/CONTESTANT/seed-N`. share: of the data that it trains on, for costs."""
        of = self.source(task)
        step = Finetune(
            name=f"finetuned/{task}/{contestant}/seed-{seed}",
            root=self.root,
            needs=(*of.needs, *((start,) if isinstance(start, Step) else ())),
            task=task,
            data=of.path,
            start=start,
            recipe=self.finetuning,
            settings=(*of.settings, *settings, *((f"training.seed={seed}",) if seed else ())),
            store=of.store,
        )
        return replace(step, cost=self._passes(BACKWARD * step.plan.epochs * share * of.examples * of.pairs, of))

    def measured(self, run: Step, task: str, zero_shot: bool = False) -> Evaluate:
        """A run measured on the task's test."""
        of = self.source(task)
        return Evaluate(
            name=f"measured/{task}{'-zero-shot' if zero_shot else ''}/{run.name.replace(f'finetuned/{task}/', '')}",
            root=self.root,
            needs=(*of.needs, run),
            task=task,
            data=of.path,
            run=run,
            split=of.split,
            zero_shot=zero_shot,
            store=of.store,
            queries=of.queries,
            processes=self.processes if task in ("retrieval", "products") else None,
            cost=self._passes(of.tested, of),
        )

    def measured_pretraining(self, run: Pretrain) -> EvaluatePretraining:
        """What a pretrained run knows of hidden words and regions, on the test pictures of retrieval."""
        of = self.source("retrieval")
        (corpus,) = [step for step in of.needs if isinstance(step, Build)]
        return EvaluatePretraining(
            name=f"measured/{run.name}",
            root=self.root,
            needs=(corpus, run),
            corpus=corpus,
            run=run,
            split=of.split,
            queries=HIDDEN_QUERIES,
            cost=self._passes(of.tested / 4, of),
        )

    def source(self, task: str) -> Source:
        """The data of a task. Raises InterbertError where the scale has none."""
        if task not in self.tasks:
            raise InterbertError(f"the scale '{self.scale}' has no data for {task}")
        return self.tasks[task]

    def _passes(self, pairs: float, of: Source) -> Cost:
        return self.machine.passes(pairs * pair_operations(pretraining_recipe(self.recipe).model, of.words, of.regions))
