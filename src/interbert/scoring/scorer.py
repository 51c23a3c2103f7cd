"""Texts and pictures come in, scores in [0, 1] leave: the matching head of a run (3.3, "ITM"), and its vectors alone.

The text stands first, the picture second. A picture is a path, a `PIL.Image`, the bytes of a file, or `Regions` made
before; a `str` in the picture's place is a path and never a URL.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor
from tqdm import tqdm

from interbert.batch import Regions, make_batch
from interbert.errors import InterbertError
from interbert.model.alone import image_alone, text_alone
from interbert.model.interbert import InterBert
from interbert.model.matching import margin
from interbert.model.pretrained import HEAD_FILE
from interbert.scoring.calibration import FILE as CALIBRATION
from interbert.scoring.calibration import RAW, Calibration
from interbert.text.tokenizer import Tokenizer
from interbert.training.inference import ready, scoring, scoring_precision
from interbert.training.precision import fast_matmul
from interbert.vision.extractor import Extractor
from interbert.vision.provenance import UNKNOWN, ExtractorInfo

if TYPE_CHECKING:
    from interbert.scoring.explain import Explanation

log = logging.getLogger(__name__)
Picture: TypeAlias = str | Path | bytes | Image | Regions
RUN_FILES = ("config.json", "model.safetensors", "tokenizer.json", "extractor.json")
MISSING = {"tokenizer.json": "; a converted run gets its vocabulary by  interbert convert … --tokenizer VOCAB"}
READY_FROM = 64  # pairs: for fewer the model scores as it is, since laying it out takes a second
PICTURES_AT_ONCE = 32  # decoded and extracted together; bounds the memory of pictures that are not regions yet


class TextsCut(UserWarning):
    """Texts were longer than the model reads."""


def load(
    path_or_id: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    calibrated: bool = True,
    precision: str = "fp32",
) -> Scorer:
    """The scorer of a run.

    path_or_id: a folder that `interbert pretrain` or `finetune` wrote; or, where there is no such folder, an id
    `owner/name` on the Hugging Face hub, at `revision`. device: None takes CUDA where it is, else the CPU.
    calibrated: whether scores are the probabilities that `interbert calibrate` made of them, where it did.
    precision: "fp32", "bf16", "int8", or "auto", the faster of the first two; of pairs, not of vectors read alone.
    Raises InterbertError where it is neither or a file is missing or broken, or the calibration is of other weights.
    """
    folder = run_folder(path_or_id, revision)
    for name in RUN_FILES:
        if not (folder / name).is_file():
            raise InterbertError(
                f"'{path_or_id}' has no {name}: it is not a finished run; wanted {', '.join(RUN_FILES)}"
                + MISSING.get(name, "")
            )
    if (folder / HEAD_FILE).is_file():
        log.warning("'%s' was finetuned for a task with a head of its own: its matching scores mean little", path_or_id)
    model = InterBert.from_pretrained(folder)
    return Scorer(
        model,
        Tokenizer.load(folder / "tokenizer.json"),
        ExtractorInfo.load(folder / "extractor.json"),
        device=device,
        calibration=Calibration.load(folder) if calibrated else None,
        precision=precision,
    )


class Scorer:
    """A model with what it needs to read texts and pictures. Made by `load`.

    `predict` and `rank` take the keywords of sentence-transformers' `CrossEncoder`. Pairs are sorted by length inside
    and each distinct picture of a call is extracted once.
    """

    def __init__(
        self,
        model: InterBert,
        tokenizer: Tokenizer,
        extractor: ExtractorInfo,
        *,
        device: str | torch.device | None = None,
        calibration: Calibration | None = None,
        precision: str = "fp32",
    ) -> None:
        if extractor.feature_size != model.config.region_feature_size:
            raise InterbertError(
                f"extractor.json: '{extractor.name}' gives {extractor.feature_size} numbers a region, the model reads "
                f"{model.config.region_feature_size}; the two files are not of one run"
            )
        if tokenizer.vocabulary_size > model.config.vocabulary_size:
            raise InterbertError(
                f"tokenizer.json has {tokenizer.vocabulary_size} word pieces, the model {model.config.vocabulary_size};"
                " the two files are not of one run"
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer
        self.extractor = extractor
        self.calibration = calibration or RAW
        self.precision = scoring_precision(precision, self.device)
        self._ready: InterBert | None = None
        self._eyes: Extractor | None = None

    def predict(
        self,
        inputs: Sequence[tuple[str, Picture]] | tuple[str, Picture],
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
    ) -> Any:
        """How well each text and picture belong together: float32 [n] in [0, 1], in the order of `inputs`.

        inputs: pairs (text, picture); one pair alone gives one number. show_progress_bar: None shows it where stderr
        is a terminal. convert_to_tensor: a Tensor; convert_to_numpy=False without it: a list of Tensors.
        Raises ValueError for batch_size < 1, TypeError for a pair that is none, InterbertError for a broken picture,
        regions of another extractor, or a score that is not finite. Warns with the count of texts that were cut.
        """
        single = isinstance(inputs, tuple) and len(inputs) == 2 and isinstance(inputs[0], str)
        pairs: Any = [inputs] if single else inputs
        margins = self.margins(pairs, batch_size, show_progress_bar)
        scores = self.probabilities(margins)
        if convert_to_numpy and not convert_to_tensor:
            return scores[0] if single else scores
        tensor = torch.from_numpy(scores).to(self.device)
        return tensor[0] if single else tensor if convert_to_tensor else list(tensor)

    def margins(
        self, inputs: Sequence[tuple[str, Picture]], batch_size: int = 32, show_progress_bar: bool | None = None
    ) -> NDArray[np.float32]:
        """The matching margins of pairs: the logit of "belong together" less the other, as the model gives them.

        float32 [n], which `probabilities` makes scores of, in the same order. Raises as `predict`.
        """
        _check_batch_size(batch_size)
        pairs = [_pair(pair, at) for at, pair in enumerate(inputs)]
        words = self.words([text for text, _ in pairs])
        return self.margins_of(words, self.regions([picture for _, picture in pairs]), batch_size, show_progress_bar)

    def probabilities(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores in [0, 1] of margins, of their shape: calibrated, where the run is."""
        return self.calibration.probabilities(margins).astype(np.float32)

    def explain(self, text: str, picture: Picture, batch_size: int = 32) -> Explanation:
        """Which words and which regions carried the score of a text and a picture, and which words look at which.

        Each word and each region is left out in turn. Raises as `predict`; warns where the text was cut.
        """
        from interbert.scoring.explain import explanation

        _check_batch_size(batch_size)
        text, picture = _pair((text, picture), 0)
        return explanation(self, text, self.regions([picture])[0], batch_size)

    def rank(
        self,
        query: str | Mapping[str, Any],
        documents: Sequence[Any],
        top_k: int | None = None,
        return_documents: bool = False,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
    ) -> list[dict[str, Any]]:
        """`documents` by their score with `query`, best first: [{"corpus_id": place in documents, "score": float}].

        query: a text, then documents are pictures; or {"image": picture}, then documents are texts. Equal scores keep
        the order of documents. top_k: None gives all. return_documents: adds each as it was given, under "text".
        Raises as `predict`.
        """
        _check_batch_size(batch_size)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k: got {top_k}, wanted at least 1, or None for all")
        asked = {"text": query} if isinstance(query, str) else query
        if not isinstance(asked, Mapping) or set(asked) not in ({"text"}, {"image"}):
            raise TypeError(f'query: got {_kind(query)}, wanted a text or {{"image": picture}}')
        by_text = "text" in asked
        side = asked["text"] if by_text else asked["image"]
        pairs = [(side, document) if by_text else (document, side) for document in documents]
        margins = self.margins(pairs, batch_size, show_progress_bar)  # finer than scores, which tie close to 1
        best, scores = np.argsort(-margins, kind="stable")[:top_k], self.probabilities(margins)
        found: list[dict[str, Any]] = [{"corpus_id": int(at), "score": float(scores[at])} for at in best]
        if return_documents:
            for one in found:
                one["text"] = documents[one["corpus_id"]]
        return found

    def encode_text(
        self, texts: Sequence[str], batch_size: int = 32, show_progress_bar: bool | None = None
    ) -> NDArray[np.float32]:
        """The text vector of each text read without a picture (the `alone` mode): float32 [n, F]."""
        _check_batch_size(batch_size)
        words = self.words(texts)

        def vectors(which: list[int]) -> Tensor:
            batch = make_batch([""] * len(which), [words[i] for i in which], None, pad_id=self.tokenizer.pad_id)
            return text_alone(self.model, batch.to(self.device))

        return self._vectors([len(w) for w in words], vectors, batch_size, show_progress_bar)

    def encode_images(
        self, images: Sequence[Picture], batch_size: int = 32, show_progress_bar: bool | None = None
    ) -> NDArray[np.float32]:
        """The image vector of each picture read without a text (the `alone` mode): float32 [n, F]."""
        _check_batch_size(batch_size)
        regions = self.regions(images)

        def vectors(which: list[int]) -> Tensor:
            batch = make_batch([""] * len(which), None, [regions[i] for i in which])
            return image_alone(self.model, batch.to(self.device))

        return self._vectors([len(r) for r in regions], vectors, batch_size, show_progress_bar)

    def regions(self, images: Sequence[Picture]) -> list[Regions]:
        """The regions of each picture, each distinct picture extracted once.

        Raises InterbertError for a broken picture, `Regions` of another feature size than the model reads, or an
        extractor that is not the one the run was trained with.
        """
        keys = [_key(image, at) for at, image in enumerate(images)]
        distinct = dict(zip(keys, images, strict=True))
        found = {key: image for key, image in distinct.items() if isinstance(image, Regions)}
        to_extract = [key for key, image in distinct.items() if not isinstance(image, Regions)]
        for start in range(0, len(to_extract), PICTURES_AT_ONCE):
            part = to_extract[start : start + PICTURES_AT_ONCE]
            pictures: list[Any] = [distinct[key] for key in part]
            found.update(zip(part, self._extractor().extract(pictures), strict=True))
        for at, key in enumerate(keys):
            size = found[key].features.shape[1]
            if size != self.extractor.feature_size:
                raise InterbertError(
                    f"picture {at}: got regions of {size} numbers each, the model reads {self.extractor.feature_size} "
                    f"(extractor '{self.extractor.name}'); extract them again with that one"
                )
        return [found[key] for key in keys]

    def _extractor(self) -> Extractor:
        if self.extractor.name == UNKNOWN:
            raise InterbertError(
                "this run does not know which extractor made its regions; give Regions of "
                f"{self.extractor.feature_size} numbers in place of pictures, or convert it again with --extractor"
            )
        if self._eyes is None:
            self._eyes = Extractor.from_info(self.extractor)
        return self._eyes

    def words(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to what the model reads; how many were cut is said once."""
        limit = self.model.config.max_text_tokens
        words = self.tokenizer.encode_many(list(texts), limit + 1)
        cut = [at for at, ids in enumerate(words) if len(ids) > limit]
        for at in cut:
            words[at] = self.tokenizer.encode(texts[at], limit)
        if cut:
            warnings.warn(
                f"{len(cut)} of {len(texts)} texts are longer than {limit} tokens; only their beginnings were read",
                TextsCut,
                stacklevel=4,  # whoever called `predict` or `rank`
            )
        return words

    def margins_of(
        self,
        words: Sequence[Sequence[int]],
        regions: Sequence[Regions],
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float32]:
        """`margins` of what was read before: token ids of `words`, and regions. Raises InterbertError for NaN."""
        found = torch.zeros(len(words), device=self.device)
        lengths = [len(w) + len(r) for w, r in zip(words, regions, strict=True)]
        model = self.model_for(len(words))
        with scoring(self.precision, self.device):
            for which in _by_length(lengths, batch_size, show_progress_bar):
                batch = make_batch(
                    [str(i) for i in which],
                    [words[i] for i in which],
                    [regions[i] for i in which],
                    pad_id=self.tokenizer.pad_id,
                )
                output = model(batch.to(self.device), 1)
                found[which] = margin(model, _present(output.text_vector), _present(output.image_vector))
        _check_finite(found, "pair")
        return found.cpu().numpy()

    def model_for(self, pairs: int) -> InterBert:
        """The model that scores so many pairs: laid out for this machine where they are worth it, once."""
        if self._ready is None and (pairs >= READY_FROM or self.precision != "fp32"):
            self._ready = ready(self.model, self.precision)
        return self._ready or self.model

    def _vectors(
        self,
        lengths: list[int],
        vectors: Callable[[list[int]], Tensor],
        batch_size: int,
        show_progress_bar: bool | None,
    ) -> NDArray[np.float32]:
        found = torch.zeros(len(lengths), self.model.config.fusion_size)
        with torch.inference_mode(), fast_matmul():
            for which in _by_length(lengths, batch_size, show_progress_bar):
                found[which] = vectors(which).float().cpu()
        _check_finite(found, "input")
        return found.numpy()


def run_folder(path_or_id: str | Path, revision: str | None = None) -> Path:
    """The folder that `load` reads: the one of that name, or what was fetched from the hub. Raises as `load`."""
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(path_or_id, Path) or path_or_id.startswith((".", "/", "~")) or path_or_id.count("/") != 1:
        raise InterbertError(f"there is no folder '{path_or_id}'; wanted a run's folder or an id owner/name on the hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(path_or_id, revision=revision, allow_patterns=[*RUN_FILES, CALIBRATION]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InterbertError(
            f"there is no folder '{path_or_id}', and no model of that name came from the Hugging Face hub: {reason}"
        ) from error


def _pair(pair: Any, at: int) -> tuple[str, Picture]:
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)):
        raise TypeError(f"pair {at}: got {_kind(pair)}, wanted (text, picture), the text first")
    return pair[0], pair[1]


def _key(image: Any, at: int) -> object:
    """What is equal for two mentions of one picture. Raises TypeError for what is not a picture."""
    if isinstance(image, str | Path):
        return Path(image)
    if isinstance(image, bytes):
        return hashlib.sha256(image).digest()
    if isinstance(image, Image | Regions):
        return id(image)
    raise TypeError(f"picture {at}: got {_kind(image)}, wanted a path, a PIL.Image, bytes or Regions")


def _by_length(lengths: Sequence[int], batch_size: int, show_progress_bar: bool | None) -> Iterator[list[int]]:
    """Places in batches of similar length, longest first: what does not fit in memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda at: -lengths[at])
    hidden = None if show_progress_bar is None else not show_progress_bar
    with tqdm(total=len(order), unit="pair", disable=hidden, delay=1, leave=False) as bar:
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            yield part
            bar.update(len(part))


def _present(vector: Tensor | None) -> Tensor:
    assert vector is not None, "the model returns a vector for each side that it was given"
    return vector


def _check_finite(numbers: Tensor, what: str) -> None:
    finite = torch.isfinite(numbers) if numbers.ndim == 1 else torch.isfinite(numbers).all(1)
    if not finite.all():
        bad = (~finite).nonzero().flatten().tolist()
        raise InterbertError(
            f"{len(bad)} of {len(numbers)} results are not finite numbers, first at {what} {bad[0]}; the weights or "
            "the regions are broken"
        )


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, wanted at least 1")


def _kind(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float) else type(value).__name__
