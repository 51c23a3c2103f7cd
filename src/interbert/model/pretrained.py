"""Saving a model to a folder or a hub and loading it again: `config.json` and `model.safetensors`, no pickle.

What belongs to the model in a run's folder (its vocabulary, its extractor, its card) goes along, so that
`interbert.load` takes what `save_pretrained` and `push_to_hub` leave.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from interbert.config import ModelConfig
from interbert.errors import InterbertError
from interbert.files import whole_file, write_json
from interbert.model.unfilled import unfilled

CONFIG, WEIGHTS, CARD_FILE = "config.json", "model.safetensors", "README.md"
HEAD_FILE = "head.safetensors"  # of a finetuned run: its task's own head, beside the weights
COMPANIONS = ("tokenizer.json", "extractor.json", "heads.safetensors", CARD_FILE)  # where a model has them
NOT_STATED = "unknown"  # the hub's word for a licence that nobody has named
OWN_CARD = "<!-- written by interbert, and written again after training; take this line out to keep your changes -->"
CARD = """
{own}
# An InterBERT

A text and a picture in, a score in [0, 1] out: how well they belong together. The model of *InterBERT:
Vision-and-Language Interaction for Multi-modal Pretraining* (Lin et al., KDD 2020), by the Python package `interbert`.

- layers: {layers} (interaction, text stream, image stream), {width} wide, {parameters:.1f}M parameters
- reads: texts of a vocabulary of {words:,} word pieces (`tokenizer.json`), regions of {features:,} numbers each, by the
  extractor that `extractor.json` names

```python
import interbert

scorer = interbert.load("THIS FOLDER OR ITS ID")
scorer.predict([("two dogs play", "dogs.jpg")])
```

{about}

## Intended use

Ranking pictures for a text or texts for a picture, of the kind that the model was trained on, and as a start for
training on other data. A score compares; it is a probability only where labelled pairs made it one (the run then has a
`calibration.json`), and no ground for a decision about people.
What the pictures and texts of the training data leave out or get wrong, the model does too.

## Licence

{licence}

## Citation

```bibtex
@inproceedings{{lin2020interbert,
  title = {{InterBERT: Vision-and-Language Interaction for Multi-modal Pretraining}},
  author = {{Lin, Junyang and Yang, An and Zhang, Yichang and Liu, Jie and Zhou, Jingren and Yang, Hongxia}},
  booktitle = {{KDD}},
  year = {{2020}},
  note = {{arXiv:2003.13198}}
}}
```
"""
NOTHING_KNOWN = """## Data, recipe, results

Not known to whoever saved this model."""


class Pretrained(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="interbert",
    pipeline_tag="text-ranking",
    tags=["interbert", "image-text-matching"],
    paper_url="https://arxiv.org/abs/2003.13198",
):
    """A module with `from_pretrained`, `save_pretrained` and `push_to_hub`, made from a `ModelConfig`.

    companions: contents of the files COMPANIONS as they were found beside the weights; saved with them.
    """

    config: ModelConfig
    companions: Mapping[str, bytes] = {}

    def generate_model_card(
        self, *args: Any, about: str = NOTHING_KNOWN, licence: str = NOT_STATED, **kwargs: Any
    ) -> ModelCard:
        """What this is, its sizes, how to use it, and `about`: its data, recipe and results, in Markdown.

        licence: an identifier of the hub ("mit"), for the card's head, and said in a sentence.
        """
        config = self.config
        image_layers = config.independence_layers if config.image_layers is None else config.image_layers
        card = super().generate_model_card(*args, **kwargs)
        card.data["license"] = licence
        card.text = CARD.format(
            own=OWN_CARD,
            layers=f"{config.interaction_layers} + {config.independence_layers} + {image_layers}",
            width=config.hidden_size,
            parameters=sum(parameter.numel() for parameter in self.parameters()) / 1e6,
            features=config.region_feature_size,
            words=config.vocabulary_size,
            about=about,
            licence="Not stated. The training data's own terms apply; ask whoever trained the model."
            if licence == NOT_STATED
            else f"Of the weights: `{licence}`. The training data's own terms may ask for more.",
        )
        return card

    def write_card(self, folder: Path, about: str, licence: str) -> bool:
        """Writes the card to a folder. Returns False, and writes nothing, where its reader has made it their own."""
        path = folder / CARD_FILE
        if path.is_file() and OWN_CARD not in path.read_text(encoding="utf-8"):
            return False
        with whole_file(path) as file:
            file.write(str(self.generate_model_card(about=about, licence=licence)))
        return True

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        with whole_file(save_directory / WEIGHTS, "wb") as file:
            file.write(save(tensors, metadata={"format": "pt"}))
        write_json(save_directory / CONFIG, self.config.to_json())
        for name, content in self.companions.items():
            if not (save_directory / name).exists():
                with whole_file(save_directory / name, "wb") as file:
                    file.write(content)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """The model of a folder, or of an id `owner/name` on the Hugging Face hub at `revision` (branch, tag, commit).

        Raises InterbertError where there is neither, or what is there is not this kind of model.
        """
        try:
            return super().from_pretrained(
                pretrained_model_name_or_path,
                force_download=force_download,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                revision=revision,
                **model_kwargs,
            )
        except (EntryNotFoundError, HFValidationError, OSError) as error:  # the hub's HTTP errors are OSErrors
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InterbertError(
                f"there is no model at '{pretrained_model_name_or_path}': no such folder, and from the Hugging Face "
                f"hub at revision {revision or 'main'}: {why}"
            ) from error

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        strict: bool = True,
        **model_kwargs: Any,
    ) -> Self:
        def find(name: str) -> Path:
            if Path(model_id).is_dir():
                return Path(model_id) / name
            found = hf_hub_download(
                model_id,
                name,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                token=token,
                local_files_only=local_files_only,
            )
            return Path(found)

        config, weights = find(CONFIG), find(WEIGHTS)
        for path in (config, weights):
            if not path.is_file():
                raise InterbertError(f"'{model_id}' has no {path.name}; wanted a folder that save_pretrained wrote")
        sizes = ModelConfig.from_json(json.loads(config.read_text(encoding="utf-8")))
        with unfilled() if strict else nullcontext():  # every weight comes from the file: none is drawn first
            model = cls(sizes)
        try:
            model.load_state_dict(_as_float32(load_file(weights, device=map_location)), strict=strict, assign=strict)
        except (SafetensorError, RuntimeError) as error:
            raise InterbertError(f"'{weights}' does not hold this model's weights: {error}") from error
        model.companions = _companions(find)
        return model.to(map_location).eval()


def _as_float32(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Numbers as float32; those that are so already stay in the file's own pages, read when they are used."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _companions(find: Callable[[str], Path]) -> dict[str, bytes]:
    """The contents of those COMPANIONS that are there: in the folder, on the hub, or without a network in its cache."""
    found = {}
    for name in COMPANIONS:
        try:
            path = find(name)
        except EntryNotFoundError:
            continue
        if path.is_file():
            found[name] = path.read_bytes()
    return found
