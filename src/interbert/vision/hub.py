"""A model's files: a folder as given, or what the Hugging Face hub has, by way of its cache; and their digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from interbert.errors import InterbertError
from interbert.files import sha256_of

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def model_folder(place: str, wanted: Sequence[str]) -> Path:
    """Where the files of a model are.

    place: a folder, or OWNER/NAME or OWNER/NAME@REVISION on the hub; what its cache has is not fetched again. wanted:
    names or patterns ("*.safetensors") of the hub's files. Raises InterbertError where it is neither.
    """
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    found = _HUB_ID.fullmatch(place)
    if found is None or place.startswith("."):
        raise InterbertError(
            f"there is no folder '{place}'; wanted a model's folder, or OWNER/NAME or OWNER/NAME@REVISION on the hub"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    id, revision = found.groups()
    try:
        return Path(snapshot_download(id, revision=revision, allow_patterns=list(wanted)))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        said = str(error).strip().splitlines()
        raise InterbertError(
            f"there is no folder '{place}', and no model of that name came from the Hugging Face hub: "
            f"{said[0] if said else type(error).__name__}"
        ) from error


def weights_in(folder: Path) -> list[Path]:
    """The safetensors files of a model's folder, in order. Raises InterbertError where there are none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InterbertError(
            f"'{folder}' has no weights as safetensors; other formats are not read: they can hold programs. "
            "Save the model again with save_pretrained, or take a revision that has them"
        )
    return files


def digest(files: Sequence[Path]) -> str:
    """Hexadecimal sha256 of a file; of several, the sha256 of their digests in order.

    Raises InterbertError where one cannot be read.
    """
    try:
        digests = [sha256_of(file) for file in files]
    except OSError as error:
        raise InterbertError(f"'{error.filename}' cannot be read: {error.strerror}") from error
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
