"""Saving a model to a folder or a hub and loading it again: `config.json` and `model.safetensors`, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from interbert.config import ModelConfig
from interbert.errors import InterbertError
from interbert.files import whole_file, write_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"


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
