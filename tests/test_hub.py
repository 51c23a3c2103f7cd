"""A model's folder: as given, or out of a cache as the hub's library lays it out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from detector_helpers import drawn_picture, save_detector

from interbert.errors import InterbertError
from interbert.files import sha256_of
from interbert.vision.extractor import Extractor
from interbert.vision.hub import digest, model_folder, weights_in

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def put(cache: Path, id: str, files: Path, revision: str = "main") -> Path:
    """The files of a folder as the hub's library keeps them: blobs, a snapshot of links to them, and a ref."""
    repository = cache / f"models--{id.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    for file in files.iterdir():
        blob = repository / "blobs" / sha256_of(file)
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    (repository / "refs" / revision).write_text(COMMIT)
    return snapshot


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert model_folder(str(tmp_path), ()) == tmp_path


@pytest.mark.parametrize(("place", "revision"), [("some/detector", "main"), ("some/detector@no_timm", "no_timm")])
def test_an_id_and_its_revision_are_found_in_the_cache(cache: Path, tmp_path: Path, place: str, revision: str) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "config.json").write_text("{}")
    snapshot = put(cache, "some/detector", tmp_path / "files", revision)
    assert model_folder(place, ["*.json"]) == snapshot


def test_a_detector_of_the_hub_is_the_one_of_its_folder(cache: Path, tmp_path: Path) -> None:
    folder = save_detector("rt_detr_v2", tmp_path / "files")
    put(cache, "some/detector", folder)
    of_hub, of_folder = Extractor.from_name("hf:some/detector"), Extractor.from_name(f"hf:{folder}")
    assert of_hub.info.name == "hf:some/detector"
    assert of_hub.info.difference(of_folder.info) is None
    (here,), (there,) = (extractor.extract([drawn_picture()]) for extractor in (of_hub, of_folder))
    assert (here.features == there.features).all()


@pytest.mark.parametrize("place", ["nowhere", "./some/model", "/no/such", "a/b/c", "some/model@", "some model/x"])
def test_what_is_neither_a_folder_nor_an_id_is_an_error(cache: Path, place: str) -> None:
    with pytest.raises(InterbertError, match=f"there is no folder '{place}'; wanted a model's folder, or OWNER/NAME"):
        model_folder(place, ())


def test_an_id_that_does_not_come_is_an_error(cache: Path) -> None:
    with pytest.raises(InterbertError, match=r"no folder 'some/other', and no model .* from the Hugging Face hub"):
        model_folder("some/other", ["*.json"])


def test_the_digest_of_one_file_is_its_own_and_of_several_that_of_theirs(tmp_path: Path) -> None:
    for name, content in (("b.safetensors", b"two"), ("a.safetensors", b"one")):
        (tmp_path / name).write_bytes(content)
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"one", b"two"))
    files = weights_in(tmp_path)
    assert digest(files[:1]) == one
    assert digest(files) == hashlib.sha256((one + two).encode()).hexdigest()


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"none\.safetensors' cannot be read: No such file"):
        digest([tmp_path / "none.safetensors"])
