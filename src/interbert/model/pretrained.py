"""Saving a model to a folder or a hub and loading it again: `config.json` and `model.safetensors`, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from interbert.config import ModelConfig
from interbert.errors import InterbertError
from interbert.files import whole_file, write_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"
CARD = """
# An InterBERT

A text and a picture in, a score in [0, 1] out: how well they belong together. The model of *InterBERT:
Vision-and-Language Interaction for Multi-modal Pretraining* (Lin et al., KDD 2020).

- layers: {layers} (interaction, text stream, image stream), {width} wide, {parameters:.1f}M parameters
- reads: texts of a vocabulary of {words:,} word pieces (`tokenizer.json`), regions of {features:,} numbers each, by the
  extractor that `extractor.json` names
- trained as `training.jsonl` and `report.html` say, where they are beside this file

```python
import interbert

scorer = interbert.load("THIS FOLDER OR ITS ID")
scorer.predict([("two dogs play", "dogs.jpg")])
```

A score compares pictures and texts of the kind that the model was trained on; it is no calibrated probability.
"""


class Pretrained(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="interbert",
    license="apache-2.0",
    pipeline_tag="text-ranking",
    tags=["interbert", "image-text-matching"],
    paper_url="https://arxiv.org/abs/2003.13198",
):
    """A module with `from_pretrained`, `save_pretrained` and `push_to_hub`, made from a `ModelConfig`."""

    config: ModelConfig

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The card that a saved folder gets where it has none: what this is, its sizes, how to use it."""
        config = self.config
        card = super().generate_model_card(*args, **kwargs)
        card.text = CARD.format(
            layers=f"{config.interaction_layers} + {config.independence_layers} + {config.independence_layers}",
            width=config.hidden_size,
            parameters=sum(parameter.numel() for parameter in self.parameters()) / 1e6,
            features=config.region_feature_size,
            words=config.vocabulary_size,
        )
        return card

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        with whole_file(save_directory / WEIGHTS, "wb") as file:
            file.write(save(tensors, metadata={"format": "pt"}))
        write_json(save_directory / CONFIG, self.config.to_json())

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
        model = cls(ModelConfig.from_json(json.loads(config.read_text(encoding="utf-8"))))
        try:
            model.load_state_dict(load_file(weights, device=map_location), strict=strict)
        except (SafetensorError, RuntimeError) as error:
            raise InterbertError(f"'{weights}' does not hold this model's weights: {error}") from error
        return model.to(map_location).eval()
