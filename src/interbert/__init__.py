"""InterBERT: how pictures and sentences belong together. A score in [0, 1] for a text and a picture, and its training.

The names below are loaded when they are first used, so that `import interbert` starts nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "load": "interbert.scoring.scorer",
    "Scorer": "interbert.scoring.scorer",
    "InterBert": "interbert.model.interbert",
    "ModelConfig": "interbert.config",
    "Regions": "interbert.batch",
    "Pair": "interbert.batch",
    "Batch": "interbert.batch",
    "Output": "interbert.batch",
    "Extractor": "interbert.vision.extractor",
    "RegionStore": "interbert.vision.store",
    "InterbertError": "interbert.errors",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from interbert.batch import Batch, Output, Pair, Regions
    from interbert.config import ModelConfig
    from interbert.errors import InterbertError
    from interbert.model.interbert import InterBert
    from interbert.scoring.scorer import Scorer, load
    from interbert.vision.extractor import Extractor
    from interbert.vision.store import RegionStore


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'interbert' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
