"""The spam classifier: runs of 1 to 3 characters, hashed, and logistic regression (A.1's is not public).

In: titles and whether each is spam. Out: a model of one file (2^18 float32 numbers), and how probable spam is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from interbert.draws import seed_for
from interbert.errors import InterbertError, UsageError
from interbert.files import whole_file
from interbert.text.grams import Characters

SIZES = (1, 2, 3)  # characters of a run
BUCKETS = 1 << 18
FORMAT = "interbert spam classifier 1"
_BLOCK = 4096  # titles judged at once


class SpamModel:
    """weights: float32 [BUCKETS], one for each hash of a run.  bias: of every title.  facts: what it was made of."""

    def __init__(self, weights: NDArray[np.float32], bias: float, facts: dict[str, str] | None = None) -> None:
        self.weights, self.bias, self.facts = weights, bias, facts or {}

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [N]: how probable it is that each text is spam."""
        blocks = [_Runs(texts[at : at + _BLOCK]).scores(self.weights) for at in range(0, len(texts), _BLOCK)]
        scores = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
        return _sigmoid(scores + np.float32(self.bias))

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file."""
        tensors = {"weights": self.weights, "bias": np.array([self.bias], np.float32)}
        with whole_file(path, "wb") as file:
            file.write(save(tensors, {"format": FORMAT, **self.facts}))

    @classmethod
    def load(cls, path: str | Path) -> SpamModel:
        """Reads what `save` wrote. Raises UsageError where it is not there, InterbertError where it is another file."""
        if not Path(path).is_file():
            raise UsageError(
                f"spam model '{path}' does not exist; make one with  interbert spam train FILE --out MODEL"
            )
        try:
            with safe_open(path, "numpy") as file:
                facts = dict(file.metadata() or {})
                weights, bias = file.get_tensor("weights"), float(file.get_tensor("bias")[0])
        except (SafetensorError, IndexError) as error:
            raise InterbertError(f"'{path}' is not a spam model ({error}); train it again") from error
        if facts.pop("format", None) != FORMAT or weights.shape != (BUCKETS,) or not np.isfinite(weights).all():
            raise InterbertError(f"'{path}' is not a spam model of this version ('{FORMAT}'); train it again")
        return cls(weights, bias, facts)


class _Runs:
    """The hashed runs of N texts. A text's runs count 1 / sqrt(their number) each, so that long titles do not shout."""

    def __init__(self, texts: Sequence[str]) -> None:
        characters = Characters([text.lower() for text in texts])
        self.counts, self.starts = characters.counts, characters.starts
        self.buckets, self.inside = [], []
        for size in SIZES:
            hashes, inside = characters.runs(size)
            self.buckets.append((hashes & np.uint64(BUCKETS - 1)).astype(np.int64))
            self.inside.append(inside)
        runs = np.add.reduceat(sum(inside.astype(np.int64) for inside in self.inside), self.starts)
        self.share = (1 / np.sqrt(runs)).astype(np.float32)

    def scores(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [N]: the sums of the weights of each text's runs."""
        each = sum(weights[buckets] * inside for buckets, inside in zip(self.buckets, self.inside, strict=True))
        return np.asarray(np.add.reduceat(each, self.starts) * self.share, np.float32)

    def gradient(self, errors: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 [BUCKETS]: that of `scores` summed with `errors` [N]."""
        of_characters = np.repeat(errors * self.share, self.counts)
        parts = (
            np.bincount(buckets, of_characters * inside, BUCKETS)
            for buckets, inside in zip(self.buckets, self.inside, strict=True)
        )
        return np.asarray(sum(parts))


def _sigmoid(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-scores.clip(-30, 30))), np.float32)


@dataclass(frozen=True)
class Training:
    """How the classifier is trained."""

    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 0.3  # Adagrad
    weight_decay: float = 1e-6
    seed: int = 0


def fit(texts: Sequence[str], is_spam: NDArray[np.bool_], training: Training | None = None) -> SpamModel:
    """Logistic regression by Adagrad. is_spam: bool [N]. The same texts in the same order give the same model."""
    training = training or Training()
    weights, bias = np.zeros(BUCKETS, np.float32), 0.0
    squares, bias_square = np.full(BUCKETS, 1e-6), 1e-6
    random = np.random.default_rng(seed_for(training.seed, "spam"))
    for _ in range(training.epochs):
        order = random.permutation(len(texts))
        for first in range(0, len(order), training.batch_size):
            batch = order[first : first + training.batch_size]
            runs = _Runs([texts[at] for at in batch])
            errors = (_sigmoid(runs.scores(weights) + np.float32(bias)) - is_spam[batch]) / len(batch)
            slope = runs.gradient(errors.astype(np.float32)) + training.weight_decay * weights
            squares += slope**2
            weights -= (training.learning_rate * slope / np.sqrt(squares)).astype(np.float32)
            bias_square += float(errors.sum()) ** 2
            bias -= training.learning_rate * float(errors.sum()) / bias_square**0.5
    return SpamModel(weights, bias)
