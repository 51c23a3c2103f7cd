"""Where a bottom-up detector lies: a converted folder, the published files as they are, or an id on the hub.

A converted folder has `config.json`, `model.safetensors` (float32) and `extractor.json`, which carries the names of
classes and attributes and the weights' digest.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from interbert.errors import InterbertError
from interbert.files import whole_file
from interbert.vision.bottom_up import BottomUp
from interbert.vision.bottom_up_check import Difference, check_detector
from interbert.vision.bottom_up_config import (
    BottomUpConfig,
    published_config,
    read_config,
    read_converted_config,
    write_config,
)
from interbert.vision.bottom_up_weights import (
    bottom_up_from,
    check_stated,
    digest,
    filled,
    layout_of,
    read_tensors,
)
from interbert.vision.hub import model_folder
from interbert.vision.provenance import ExtractorInfo

log = logging.getLogger(__name__)

_CONVERTED = CONFIG, WEIGHTS, EXTRACTOR = "config.json", "model.safetensors", "extractor.json"
PUBLISHED_CONFIG, PUBLISHED_WEIGHTS = "config.yaml", "pytorch_model.bin"
VOCABULARIES = ("objects_vocab.txt", "attributes_vocab.txt")


@dataclass(frozen=True)
class Place:
    """The files of a detector. converted: whether `convert` made them.  config: None where none lies there."""

    weights: Path
    config: Path | None
    converted: bool
    objects: Path | None = None
    attributes: Path | None = None


@dataclass(frozen=True, eq=False)
class Detector:
    """A network ready to be used, what its numbers are called, and its weights' digest."""

    model: BottomUp
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    sha256: str

    def info(self) -> ExtractorInfo:
        """What `extractor.json` says of it."""
        return ExtractorInfo(
            name="bottom-up",
            feature_size=self.model.sizes.features,
            classes=self.classes,
            weights_sha256=self.sha256,
            settings={"detector": asdict(self.model.config)},
            attributes=self.attributes,
        )


def find_detector(folder_or_id: str) -> Place:
    """The files of a folder, of a file of weights, or of `owner/name[@revision]` on the Hugging Face hub.

    Raises InterbertError where they are not there, or it isn't plain which are meant.
    """
    path = Path(folder_or_id).expanduser()
    if path.is_file():
        return _published(path, path.parent)
    folder = model_folder(folder_or_id, (*_CONVERTED, PUBLISHED_CONFIG, PUBLISHED_WEIGHTS, *VOCABULARIES))
    if all((folder / name).is_file() for name in _CONVERTED):
        return Place(folder / WEIGHTS, folder / CONFIG, converted=True)
    found = [folder / PUBLISHED_WEIGHTS] if (folder / PUBLISHED_WEIGHTS).is_file() else sorted(folder.glob("*.pth"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InterbertError(
            f"'{folder_or_id}' is no bottom-up detector: wanted {', '.join(_CONVERTED)} (converted), or "
            f"{PUBLISHED_WEIGHTS} or one .pth file (published, found {names})"
        )
    return _published(found[0], folder)


def _published(weights: Path, folder: Path) -> Place:
    configs = sorted(file for file in folder.glob("*.y*ml") if file.suffix in (".yaml", ".yml"))
    exact = [file for file in configs if file.name == PUBLISHED_CONFIG]
    if len(configs) > 1 and not exact:
        raise InterbertError(
            f"'{folder}' has several YAML files ({', '.join(file.name for file in configs)}), and it isn't plain "
            f"which is the detector's; rename it to {PUBLISHED_CONFIG}"
        )
    objects, attributes = (path if (path := folder / name).is_file() else None for name in VOCABULARIES)
    return Place(weights, next(iter(exact or configs), None), False, objects, attributes)


def describe(place: Place) -> ExtractorInfo:
    """Its identity, under the name "bottom-up". Of a converted folder the weights are not read, which takes no time."""
    if not place.converted or place.config is None:
        return load_detector(place).info()
    config, _ = read_converted_config(place.config)
    info = ExtractorInfo.load(place.weights.parent / EXTRACTOR)
    return replace(info, settings={"detector": asdict(config)})


def load_detector(place: Place) -> Detector:
    """Raises InterbertError where a file is damaged, of another model, or changed since it was converted."""
    if place.converted:
        return _load_converted(place)
    return published_detector(place.weights, place.config, place.objects, place.attributes)


def published_detector(
    weights: Path, config: Path | None, objects: Path | None = None, attributes: Path | None = None
) -> Detector:
    """From published files; without a config, what MILVLG's states. objects, attributes: their names, one a line."""
    tensors = read_tensors(weights)
    published = None if config is None else read_config(config)
    settings = published.config if published else _settings_without_file(tensors, weights)
    model = bottom_up_from(tensors, settings, str(weights))
    if published is not None:
        check_stated(published, model.sizes)
    return Detector(
        model,
        _names(objects, model.sizes.classes, "object"),
        _names(attributes, model.sizes.attributes, "attribute"),
        digest(model),
    )


def _settings_without_file(tensors: dict[str, torch.Tensor], weights: Path) -> BottomUpConfig:
    if layout_of(tensors) == "unc":
        raise InterbertError(f"'{weights}' needs its {PUBLISHED_CONFIG}, which states what it was published with")
    log.info("'%s' has no YAML file beside it; the published settings are used", weights)
    return published_config()


def read_names(path: str | Path) -> tuple[str, ...]:
    """A vocabulary: one name a line; of synonyms, which commas join, the first."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InterbertError(
            f"'{path}' cannot be read as a vocabulary ({error}); wanted a name on each line"
        ) from error
    return tuple(line.split(",")[0].strip() for line in lines if line.strip())


def _names(path: Path | None, count: int, kind: str) -> tuple[str, ...]:
    if path is None:
        return tuple(f"{kind} {number}" for number in range(count))
    names = read_names(path)
    if len(names) != count:
        raise InterbertError(
            f"'{path}' has {len(names)} names, the detector {count} {kind}s; give the right vocabulary"
        )
    return names


def save_detector(detector: Detector, out: str | Path) -> None:
    """Writes a converted folder; `extractor.json`, without which it is none, last. Raises where `out` is another's."""
    out, model = Path(out), detector.model
    if (out / CONFIG).exists() or (out / WEIGHTS).exists():
        read_converted_config(out / CONFIG)  # an InterBERT's folder has files of the same names
    out.mkdir(parents=True, exist_ok=True)
    (out / EXTRACTOR).unlink(missing_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(out / WEIGHTS, "wb") as file:
        file.write(save(tensors, metadata={"format": "pt"}))
    write_config(out / CONFIG, model.config, model.sizes)
    detector.info().save(out / EXTRACTOR)


@dataclass(frozen=True)
class Conversion:
    """What became of published files. differences: one for each stage of the fixture, where there was one."""

    info: ExtractorInfo
    differences: tuple[Difference, ...] = ()

    @property
    def is_written(self) -> bool:
        """Nothing is where a stage is off."""
        return all(difference.fine for difference in self.differences)


def convert_detector(
    weights: Path,
    config: Path,
    out: Path,
    *,
    objects: Path | None = None,
    attributes: Path | None = None,
    check: Path | None = None,
) -> Conversion:
    """Published files into a converted folder, unless `check`, a fixture, has a stage that is off.

    Raises InterbertError where a file is damaged or of another model, or `out` is something else's folder.
    """
    detector = published_detector(weights, config, objects, attributes)
    done = Conversion(detector.info(), () if check is None else tuple(check_detector(detector.model, check)))
    if done.is_written:
        save_detector(detector, out)
    return done


def _load_converted(place: Place) -> Detector:
    assert place.config is not None
    (config, sizes), info = read_converted_config(place.config), ExtractorInfo.load(place.weights.parent / EXTRACTOR)
    try:
        state = load_file(place.weights)
    except (SafetensorError, OSError) as error:
        raise InterbertError(f"'{place.weights}' is damaged ({error}); convert again") from error
    try:
        with torch.device("meta"):
            model = BottomUp(config, sizes)
        filled(model, state)
    except (RuntimeError, ValueError, TypeError) as error:
        raise InterbertError(f"'{place.weights}' does not hold this detector's weights; convert again") from error
    found = digest(model)
    if found != info.weights_sha256:
        raise InterbertError(
            f"'{place.weights}' has changed since it was converted: its digest is {found[:12]}…, "
            f"{EXTRACTOR} says {info.weights_sha256[:12]}…; convert again"
        )
    return Detector(model, info.classes, info.attributes, found)
