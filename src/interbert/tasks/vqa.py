"""Visual question answering (4.2 and A.2, Table 3): the fused vector of a question and a picture chooses an answer.

In: questions of `vqa_files` and the regions of their pictures. What may be answered are the training answers that are
common enough; soft targets over them, binary cross-entropy. Out: the challenge's score. Without a region store the
questions are read alone: what a language prior reaches.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, gelu

from interbert.batch import Batch, make_batch
from interbert.config import ModelConfig
from interbert.errors import InterbertError, UsageError
from interbert.tasks.pictures import StoredPictures, submitted
from interbert.tasks.rows import Examples
from interbert.tasks.task import Asked, Given, Task, TaskModel, drawn, longest_first, measured, some_of_both
from interbert.tasks.texts import encoded
from interbert.tasks.vqa_answers import answer_vocabulary, official_score, soft_targets, summary
from interbert.tasks.vqa_files import Question, read_questions, write_submission
from interbert.training.report import Picture, Shown

log = logging.getLogger(__name__)
BATCH = 64  # questions at a time where nothing is trained


@dataclass(frozen=True)
class VqaOptions:
    """Settings of the task."""

    min_occurrences: int = 9  # questions of which an answer must be the common one; of the official data leaves 3,129
    validation_questions: int = 2000  # of the validation split, drawn by the seed, answered while training

    def __post_init__(self) -> None:
        for name in ("min_occurrences", "validation_questions"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: got {getattr(self, name)}, wanted at least 1")


@dataclass(eq=False)
class AnswerBatch(Batch):
    """Questions with their soft targets. targets: float32 [B, A] over the A answers."""

    targets: Tensor | None = None


class AnswerHead(nn.Module):
    """Fused vector [B, F] to answer logits [B, A]: "an MLP" (A.2); as ViLBERT's, of one inner layer of 2 F."""

    def __init__(self, config: ModelConfig, answers: int) -> None:
        super().__init__()
        self.dense = nn.Linear(config.fusion_size, 2 * config.fusion_size)
        self.norm = nn.LayerNorm(2 * config.fusion_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(2 * config.fusion_size, answers)
        for layer in (self.dense, self.decoder):
            nn.init.normal_(layer.weight, std=config.initializer_range)
            nn.init.zeros_(layer.bias)

    def forward(self, fused: Tensor) -> Tensor:
        """[B, F] to [B, A]."""
        return torch.as_tensor(self.decoder(self.norm(gelu(self.dense(fused)))))


@dataclass(frozen=True)
class Asking:
    """A question as the model reads it. picture: the id of its regions; None where it is read without its picture."""

    question: Question
    words: list[int]
    picture: str | None


@dataclass
class Part:
    """The questions of a split that can be read, and why others cannot: reason -> how many.

    others: those left out for their picture, which a submission has all the same.  cut: how many are longer than the
    model reads.
    """

    asked: list[Asking] = field(default_factory=list)
    others: list[Asking] = field(default_factory=list)
    cut: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Vqa(Task):
    """The task on its questions."""

    metric: ClassVar[str] = "vqa_score"
    published: ClassVar = {  # of the challenge's test-dev, with all of its 444K training questions
        "InterBERT (paper)": {"vqa_score": 0.703},
        "BUTD (paper)": {"vqa_score": 0.653},
        "ViLBERT (paper)": {"vqa_score": 0.706},
        "LXMERT (paper)": {"vqa_score": 0.724},
    }

    def __init__(self, found: Examples[Question], options: VqaOptions, given: Given) -> None:
        self.found, self.options, self.given = found, options, given
        self.pictures = None if given.store is None else StoredPictures(given.store, given)
        self.answers: tuple[str, ...]
        if given.facts is None:
            common = [question.common for question in found.training() if question.answers]
            if not common:
                raise InterbertError("no training question has answers, from which the model could learn; give some")
            self.answers = answer_vocabulary(common, options.min_occurrences)
        else:
            self.answers = tuple(given.facts["answers"])
        if not self.answers:
            raise InterbertError(
                f"no answer is the common one of {options.min_occurrences} training questions; give more questions, "
                "or a smaller options.min_occurrences"
            )
        if given.facts is not None and given.facts["with_pictures"] != (given.store is not None):
            raise InterbertError(
                "vqa: the run was finetuned with pictures; give --store with their regions"
                if given.store is None
                else "vqa: the run was finetuned on questions alone; evaluate it without --store"
            )
        self.places = {answer: at for at, answer in enumerate(self.answers)}
        self._parts: dict[str, Part] = {}
        if self.pictures is None:
            log.warning("no region store was given: the questions are read alone, without their pictures")

    @classmethod
    def open(cls, data: Path, options: VqaOptions, given: Given) -> Self:
        """The task on a file or folder that `read_questions` reads, with the pictures of given.store."""
        return cls(read_questions(data), options, given)

    def part(self, split: str) -> Part:
        """The questions of a split: read once. Of training, those that have an answer of the vocabulary.

        Raises InterbertError where none is left.
        """
        if split not in self._parts:
            part = self._read(self.found.part(split), training=split == "train")
            for reason, count in part.left_out.items():
                log.warning("%d of the %s questions left out: %s", count, split, reason)
            if not part.asked:
                raise InterbertError(f"no question of the {split} split is left: {', '.join(part.left_out)}")
            self._parts[split] = part
        return self._parts[split]

    def _read(self, questions: Sequence[Question], training: bool) -> Part:
        part, texts = Part(), [question.text for question in questions]
        words, part.cut = encoded(texts, self.given.config.max_text_tokens, self.given.tokenizer, "questions")
        for question, ids in zip(questions, words, strict=True):
            if training and not soft_targets(question.answers, self.places):
                part.left_out["no answer of it is in the vocabulary"] += 1
                continue
            if self.pictures is None:
                part.asked.append(Asking(question, ids, None))
            elif (picture := self.pictures.find(question.pictures, part.left_out)) is not None:
                part.asked.append(Asking(question, ids, picture))
            else:
                part.others.append(Asking(question, ids, self.pictures.at_all(question.pictures)))
        return part

    def _size(self, asking: Asking) -> int:
        return len(asking.words) + (0 if self.pictures is None else 1 + self.pictures.count(asking.picture))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [N]: tokens and regions of every training question."""
        return np.array([self._size(asking) for asking in self.part("train").asked], np.int64)

    def make(self, examples: NDArray[np.int64], generators: Sequence[Generator], epoch: int) -> Batch:
        """Training questions with their pictures and soft targets; nothing is drawn."""
        asked = self.part("train").asked
        return self._batch([asked[at] for at in examples.tolist()])

    def _batch(self, asked: Sequence[Asking]) -> AnswerBatch:
        ids, words = [str(one.question.id) for one in asked], [one.words for one in asked]
        regions = None if self.pictures is None else [self.pictures.regions(one.picture) for one in asked]
        batch = AnswerBatch(**vars(make_batch(ids, words, regions, pad_id=self.given.tokenizer.pad_id)))
        batch.targets = torch.zeros(len(asked), len(self.answers))
        for row, one in enumerate(asked):
            for place, target in soft_targets(one.question.answers, self.places).items():
                batch.targets[row, place] = target
        return batch

    def head(self, config: ModelConfig) -> nn.Module:
        """An `AnswerHead` over the vocabulary."""
        return AnswerHead(config, len(self.answers))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Questions."""
        return {"answers": float(len(batch))}

    def losses(self, model: TaskModel, batch: Batch) -> dict[str, Tensor]:
        """Binary cross-entropy with the soft targets, summed over answers and questions (about 0.693 A at first)."""
        assert isinstance(batch, AnswerBatch)
        assert batch.targets is not None
        logits = answer_logits(model, batch)
        return {"answers": binary_cross_entropy_with_logits(logits, batch.targets, reduction="sum")}

    def predict(self, model: TaskModel, asked: Sequence[Asking]) -> list[str]:
        """The most probable answer to each question."""
        return [said for said, _ in self._said(model, asked)]

    def _said(self, model: TaskModel, asked: Sequence[Asking]) -> list[tuple[str, float]]:
        """The most probable answer to each question, with its probability."""
        said = [("", 0.0)] * len(asked)
        device = next(model.parameters()).device
        with torch.inference_mode():
            for which in longest_first([self._size(one) for one in asked], BATCH):
                best = answer_logits(model, self._batch([asked[at] for at in which]).to(device)).float().max(-1)
                for at, place, score in zip(which, best.indices.tolist(), best.values.sigmoid().tolist(), strict=True):
                    said[at] = self.answers[place], score
        return said

    def validate(self, model: TaskModel) -> dict[str, float]:
        """The challenge's score on some validation questions."""
        asked = self._validated()
        if not asked:
            return {}
        return {"vqa_score": float(np.mean(self._scores(asked, self.predict(model, asked))))}

    def _validated(self) -> list[Asking]:
        """Validation questions with answers, drawn by the seed."""
        if "validation" not in self.found.splits:
            return []
        asked = [one for one in self.part("validation").asked if one.question.answers]
        return drawn(asked, self.options.validation_questions, self.given.seed)

    def _scores(self, asked: Sequence[Asking], said: Sequence[str]) -> list[float]:
        return [official_score(answer, one.question.answers) for one, answer in zip(asked, said, strict=True)]

    def evaluate(self, model: TaskModel, asked: Asked) -> dict[str, Any]:
        """The challenge's score of a split, by kinds of question too; asked.submission: its json of all questions.

        `official` is what the challenge's own evaluation prints, in percent; `chance`, always the commonest answer.
        """
        part = self.part(asked.split)
        said = self.predict(model, part.asked)
        sent = {} if asked.submission is None else {"submission": self._submit(asked.submission, model, part, said)}
        known = [at for at, one in enumerate(part.asked) if one.question.answers]
        questions = [part.asked[at].question for at in known]
        scores = self._scores([part.asked[at] for at in known], [said[at] for at in known])
        always = [official_score(self.answers[0], question.answers) for question in questions]
        kinds = [question.answer_type for question in questions], [question.question_type for question in questions]
        return {
            "split": asked.split,
            "reads": "question alone" if self.pictures is None else "question and picture",
            "metrics": {"vqa_score": measured(scores, chance=measured(always)["value"])},
            "official": asdict(summary(scores, *kinds)),
            "questions": len(part.asked),
            "with_answers": len(known),
            "answers": len(self.answers),
            "cut": part.cut,
            "without_known_answer": sum(not soft_targets(one.answers, self.places) for one in questions),
            "left_out": part.left_out.total() + sum(self.found.left_out.values()),
            "left_out_because": dict(part.left_out),
            **sent,
        }

    def _submit(self, file: Path, model: TaskModel, part: Part, said: Sequence[str]) -> dict[str, int]:
        """Writes the challenge's json. Returns what it is made of."""
        questions = [one.question for one in [*part.asked, *part.others]]
        write_submission(file, questions, [*said, *self.predict(model, part.others)])
        return submitted(self.found, len(said), [one.picture for one in part.others])

    def examples(self, model: TaskModel, count: int) -> list[Shown]:
        """Validation questions that the model answers right (a score of at least a half), and as many wrong ones."""
        asked = self._validated()
        said = self._said(model, asked)
        right = np.array(self._scores(asked, [answer for answer, _ in said]), np.float64) >= 0.5
        return [self._shown(asked[at], *said[at], right=bool(right[at])) for at in some_of_both(right, count)]

    def _shown(self, asking: Asking, said: str, score: float, right: bool) -> Shown:
        people = ", ".join(f"{answer} ({count})" for answer, count in Counter(asking.question.answers).most_common(3))
        pictures: tuple[Picture, ...] = ()
        if self.pictures is not None and asking.picture is not None:
            pictures = (self.pictures.shown(asking.picture),)
        return Shown(asking.question.text, f"{said}; people: {people}", right, pictures, score)

    def facts(self) -> dict[str, Any]:
        """The answers, in the order of the head's outputs, and whether questions are read with pictures."""
        return {"answers": list(self.answers), "with_pictures": self.pictures is not None}

    def digest(self, split: str) -> str:
        """Of the split's examples."""
        return self.found.digest(split)

    def fingerprint(self) -> dict[str, Any]:
        """The training questions, how many can be read, and whether with pictures."""
        return {
            "questions": self.found.digest("train"),
            "read": len(self.part("train").asked),
            "pictures": self.pictures is not None,
        }


def answer_logits(model: TaskModel, batch: Batch) -> Tensor:
    """float32 [B, A]: what the head says of the fused vectors, or of the questions' own where there are no pictures."""
    assert model.head is not None
    output = model.backbone(batch, positions=1)
    assert output.text_vector is not None
    text, fusion = output.text_vector.float(), model.backbone.fusion
    with torch.autocast(text.device.type, enabled=False):
        fused = fusion.dropout(text) if output.image_vector is None else fusion(text, output.image_vector.float())
        return torch.as_tensor(model.head(fused))
