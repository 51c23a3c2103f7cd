"""GLUE's CoLA, SST-2, STS-B and RTE (4.5 and A.3, Table 5): text alone, through the interaction and the text stream.

In: sentences, or pairs of them, of `glue_files`. A head reads `[CLS]` of the text stream. Out: Matthews' correlation,
accuracy, or Spearman's and Pearson's. All three contestants of Table 5 (BERT, single stream, InterBERT) have this head
and this recipe; they differ in the run that they start from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from interbert.batch import Batch, make_batch
from interbert.config import ModelConfig
from interbert.errors import InterbertError, UsageError
from interbert.metrics import accuracy, matthews, pearson, spearman
from interbert.tasks.glue_files import GLUE, GlueSet, Sentences, read_glue, write_submission
from interbert.tasks.rows import Examples
from interbert.tasks.task import Asked, Given, Task, TaskModel, longest_first, measured, some_of_both
from interbert.tasks.texts import Joined, joined, pieces_of
from interbert.training.report import Shown

log = logging.getLogger(__name__)
Metric = Callable[[NDArray[np.float64]], float]
BATCH = 128  # examples at a time where nothing is trained
HEAD_DROPOUT = 0.1  # BERT's; 0 in a model whose dropout is 0


@dataclass(frozen=True)
class GlueOptions:
    """Settings of GLUE's tasks."""

    max_tokens: int = 128  # A.3; with [CLS] and [SEP]. A model that reads fewer is given what it reads

    def __post_init__(self) -> None:
        if self.max_tokens < 5:
            raise UsageError(f"max_tokens: got {self.max_tokens}, wanted at least 5, for two texts of one piece each")


@dataclass(eq=False)
class LabelledBatch(Batch):
    """Texts with what is wanted of them. labels: int64 [B], the class; or float32 [B], the number."""

    labels: Tensor | None = None


class SentenceHead(nn.Module):
    """BERT's head for sentences: `[CLS]` through a linear layer and tanh, then to one output a class, or to one."""

    def __init__(self, config: ModelConfig, outputs: int) -> None:
        super().__init__()
        self.pool = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(HEAD_DROPOUT if config.dropout else 0.0)
        self.decoder = nn.Linear(config.hidden_size, outputs)
        for layer in (self.pool, self.decoder):
            nn.init.normal_(layer.weight, std=config.initializer_range)
            nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor) -> Tensor:
        """states: [B, T, H]. Returns [B, outputs]."""
        return torch.as_tensor(self.decoder(self.dropout(torch.tanh(self.pool(states[:, 0])))))


class Glue(Task):
    """One of GLUE's tasks; its subclasses say which."""

    kind: ClassVar[GlueSet]

    def __init__(self, found: Examples[Sentences], options: GlueOptions, given: Given) -> None:
        self.found, self.given = found, given
        self.max_tokens = min(options.max_tokens, given.config.max_text_tokens)

    @classmethod
    def open(cls, data: Path, options: GlueOptions, given: Given) -> Self:
        """The task on a folder or file that `read_glue` reads."""
        return cls(read_glue(data, cls.kind), options, given)

    @cached_property
    def _train(self) -> tuple[list[Sentences], list[Joined]]:
        """The training examples as they are and as they are read."""
        labelled = [example for example in self.found.training() if example.label is not None]
        if not labelled:
            raise InterbertError(
                f"no training example of {self.kind.title} has a label; give a column {self.kind.label}"
            )
        read = self._read(labelled)
        self._cut(read)
        return labelled, read

    def _read(self, examples: Sequence[Sentences]) -> list[Joined]:
        tokenizer = self.given.tokenizer
        first = pieces_of([example.first for example in examples], tokenizer)
        second = pieces_of([example.second or "" for example in examples], tokenizer)
        return [
            joined(one, None if example.second is None else two, self.max_tokens, tokenizer)
            for example, one, two in zip(examples, first, second, strict=True)
        ]

    def _cut(self, read: Sequence[Joined]) -> int:
        """How many texts are cut, said and given."""
        cut = sum(text.cut for text in read)
        if cut:
            log.warning("%d of %d texts are longer than %d tokens: cut", cut, len(read), self.max_tokens)
        return cut

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [N]: tokens of every training example."""
        return np.array([len(text.words) for text in self._train[1]], np.int64)

    def make(self, examples: NDArray[np.int64], generators: Sequence[Generator], epoch: int) -> Batch:
        """The texts of training examples with their labels; nothing is drawn."""
        labelled, read = self._train
        places = examples.tolist()
        return self._batch([labelled[at] for at in places], [read[at] for at in places])

    def _batch(self, examples: Sequence[Sentences], read: Sequence[Joined]) -> LabelledBatch:
        ids, words, types = [one.id for one in examples], [text.words for text in read], [text.types for text in read]
        batch = LabelledBatch(**vars(make_batch(ids, words, None, types, self.given.tokenizer.pad_id)))
        if all(example.label is not None for example in examples):
            dtype = torch.float32 if self.kind.labels is None else torch.int64
            batch.labels = torch.tensor([example.label for example in examples]).to(dtype)
        return batch

    def head(self, config: ModelConfig) -> nn.Module:
        """A `SentenceHead` with one output a class, or one."""
        return SentenceHead(config, self.kind.outputs)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Examples."""
        return {"labels": float(len(batch))}

    def losses(self, model: TaskModel, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the classes, or squared error of the number (BERT's), summed."""
        assert isinstance(batch, LabelledBatch)
        assert batch.labels is not None
        outputs = outputs_of(model, batch)
        if self.kind.labels is None:
            return {"labels": mse_loss(outputs[:, 0], batch.labels, reduction="sum")}
        return {"labels": cross_entropy(outputs, batch.labels, reduction="sum")}

    def predict(self, model: TaskModel, examples: Sequence[Sentences]) -> NDArray[np.float64]:
        """float64 [N]: the class's place, or the number, of each example."""
        return self._said(self._outputs(model, examples, self._read(examples)))

    def _said(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return outputs[:, 0] if self.kind.labels is None else outputs.argmax(-1).astype(np.float64)

    def _outputs(self, model: TaskModel, examples: Sequence[Sentences], read: Sequence[Joined]) -> NDArray[np.float64]:
        """float64 [N, outputs]: what the head says of each example."""
        found = np.zeros((len(read), self.kind.outputs))
        device = next(model.parameters()).device
        with torch.inference_mode():
            for which in longest_first([len(text.words) for text in read], BATCH):
                batch = self._batch([examples[at] for at in which], [read[at] for at in which])
                found[which] = outputs_of(model, batch.to(device)).double().cpu().numpy()
        return found

    def validate(self, model: TaskModel) -> dict[str, float]:
        """The task's metrics on the validation split."""
        examples = self._validated()
        if not examples:
            return {}
        rows = np.stack([self.predict(model, examples), wanted_of(examples)], 1)
        return {name: metric(rows) for name, metric in self._metrics().items()}

    def _validated(self) -> list[Sentences]:
        return [one for one in self.found.splits.get("validation", []) if one.label is not None]

    def _metrics(self) -> dict[str, Metric]:
        """Name -> metric of rows (predicted, wanted)."""
        if self.kind.labels is None:
            return {"spearman": lambda rows: spearman(*rows.T), "pearson": lambda rows: pearson(*rows.T)}
        of_classes: dict[str, Metric] = {"accuracy": lambda rows: accuracy(*rows.T)}
        return of_classes if self.metric == "accuracy" else {"matthews": lambda rows: matthews(*rows.T), **of_classes}

    def evaluate(self, model: TaskModel, asked: Asked) -> dict[str, Any]:
        """The metrics of a split with their intervals; asked.submission: GLUE's tsv of all its predictions."""
        examples = self.found.part(asked.split)
        read = self._read(examples)
        predicted = self._said(self._outputs(model, examples, read))
        if asked.submission is not None:
            write_submission(asked.submission, [one.id for one in examples], predicted.tolist(), self.kind)
        known = [at for at, one in enumerate(examples) if one.label is not None]
        rows = np.stack([predicted[known], wanted_of([examples[at] for at in known])], 1)
        metrics = {name: measured(rows, metric) for name, metric in self._metrics().items()}
        return {
            "split": asked.split,
            "metrics": metrics,
            "examples": len(examples),
            "with_label": len(known),
            "cut": self._cut(read),
            "left_out": sum(self.found.left_out.values()),
        }

    def examples(self, model: TaskModel, count: int) -> list[Shown]:
        """Validation sentences that the model has right, and as many that it has wrong.

        A number is right where it is less than half a step from the one wanted.
        """
        examples = self._validated()
        outputs = self._outputs(model, examples, self._read(examples))
        predicted, scores = self._said(outputs), torch.from_numpy(outputs).softmax(-1).amax(-1).tolist()
        right = np.abs(predicted - wanted_of(examples)) < 0.5
        return [
            self._shown(examples[at], float(predicted[at]), scores[at], bool(right[at]))
            for at in some_of_both(right, count)
        ]

    def _shown(self, example: Sentences, said: float, score: float, right: bool) -> Shown:
        assert example.label is not None
        asked = example.first if example.second is None else f"{example.first} | {example.second}"
        if self.kind.labels is None:
            return Shown(asked, f"{said:.1f}, wanted {example.label:.1f}", right)
        names = self.kind.labels
        text = names[int(said)] + ("" if right else f", wanted {names[int(example.label)]}")
        return Shown(asked, text, right, score=score)

    def digest(self, split: str) -> str:
        """Of the split's examples."""
        return self.found.digest(split)

    def fingerprint(self) -> dict[str, Any]:
        """The training examples, and how they are cut."""
        return {"examples": self.found.digest("train"), "max_tokens": self.max_tokens}


def outputs_of(model: TaskModel, batch: Batch) -> Tensor:
    """float32 [B, outputs]: what the head says of texts read alone."""
    assert model.head is not None
    states = model.backbone(batch, positions=1).text_states
    with torch.autocast(states.device.type, enabled=False):  # numbers of 8 bits would tie too often
        return torch.as_tensor(model.head(states.float()))


def wanted_of(examples: Sequence[Sentences]) -> NDArray[np.float64]:
    """float64 [N]: the labels."""
    return np.array([example.label for example in examples], np.float64)


class Cola(Glue):
    """Whether a sentence is good English. Matthews' correlation."""

    kind = GLUE["cola"]
    metric: ClassVar[str] = "matthews"
    published: ClassVar = {
        "InterBERT (paper)": {"matthews": 0.573},
        "BERT-base (paper)": {"matthews": 0.567},
        "single stream (paper)": {"matthews": 0.523},
    }


class Sst2(Glue):
    """Whether a film review is positive. Accuracy."""

    kind = GLUE["sst2"]
    metric: ClassVar[str] = "accuracy"
    published: ClassVar = {
        "InterBERT (paper)": {"accuracy": 0.917},
        "BERT-base (paper)": {"accuracy": 0.924},
        "single stream (paper)": {"accuracy": 0.919},
    }


class Stsb(Glue):
    """How alike two sentences are, 0 to 5. Spearman's and Pearson's correlation; the paper prints one number."""

    kind = GLUE["stsb"]
    metric: ClassVar[str] = "spearman"
    published: ClassVar = {
        "InterBERT (paper)": {"spearman": 0.889},
        "BERT-base (paper)": {"spearman": 0.882},
        "single stream (paper)": {"spearman": 0.886},
    }


class Rte(Glue):
    """Whether a sentence follows from another. Accuracy."""

    kind = GLUE["rte"]
    metric: ClassVar[str] = "accuracy"
    published: ClassVar = {
        "InterBERT (paper)": {"accuracy": 0.643},
        "BERT-base (paper)": {"accuracy": 0.650},
        "single stream (paper)": {"accuracy": 0.592},
    }
