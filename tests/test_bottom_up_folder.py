"""Where a detector lies: converted, as published, or in the hub's cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bottom_up_helpers import SIZES, publish, small_detector, weights_of
from safetensors.torch import load_file, save_file

from interbert.errors import InterbertError
from interbert.files import sha256_of
from interbert.vision.bottom_up_folder import (
    convert_detector,
    describe,
    find_detector,
    load_detector,
    published_detector,
    read_names,
    save_detector,
)

LAYOUTS = pytest.mark.parametrize("layout", ["unc", "caffe"])
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


def vocabulary(path: Path, count: int) -> Path:
    path.write_text("".join(f"thing {number},synonym\n" for number in range(count)))
    return path


def converted(folder: Path, layout: str = "unc") -> Path:
    published = publish(small_detector(layout), folder / "published")
    convert_detector(weights_of(published), published / "config.yaml", folder / "detector")
    return folder / "detector"


@LAYOUTS
def test_published_files_and_the_converted_folder_are_the_same_detector(tmp_path: Path, layout: str) -> None:
    folder = converted(tmp_path, layout)
    before, after = (load_detector(find_detector(str(place))) for place in (tmp_path / "published", folder))
    assert before.info() == after.info() == describe(find_detector(str(folder)))
    assert all(torch.equal(tensor, after.model.state_dict()[key]) for key, tensor in before.model.state_dict().items())
    assert before.model.config == after.model.config == small_detector(layout).config


def test_a_file_of_weights_alone_is_found_with_the_config_beside_it(tmp_path: Path) -> None:
    folder = publish(small_detector("caffe"), tmp_path)
    (folder / "config.yaml").rename(folder / "test-caffe-r101.yml")
    place = find_detector(str(weights_of(folder)))
    assert place.config == folder / "test-caffe-r101.yml"
    assert find_detector(str(folder)) == place


def test_milvlgs_weights_need_no_config(tmp_path: Path) -> None:
    folder = publish(small_detector("caffe"), tmp_path)
    (folder / "config.yaml").unlink()
    config = load_detector(find_detector(str(folder))).model.config
    assert (config.shortest_side, config.proposals) == (600, 300)


def test_unc_nlps_weights_need_their_config(tmp_path: Path) -> None:
    folder = publish(small_detector("unc"), tmp_path)
    (folder / "config.yaml").unlink()
    with pytest.raises(InterbertError, match=r"needs its config\.yaml"):
        load_detector(find_detector(str(folder)))


def test_several_configs_are_an_error_that_names_them(tmp_path: Path) -> None:
    folder = publish(small_detector("caffe"), tmp_path)
    (folder / "config.yaml").rename(folder / "a.yaml")
    (folder / "b.yaml").write_text("x: 1")
    with pytest.raises(InterbertError, match=r"a\.yaml, b\.yaml"):
        find_detector(str(folder))


def test_a_folder_of_something_else_says_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"found none"):
        find_detector(str(tmp_path))
    for name in ("k10-100.pth", "k36.pth"):
        (tmp_path / name).touch()
    with pytest.raises(InterbertError, match=r"found k10-100\.pth, k36\.pth"):
        find_detector(str(tmp_path))


def test_sizes_that_the_config_states_must_be_those_of_the_weights(tmp_path: Path) -> None:
    folder = publish(small_detector("unc"), tmp_path)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("num_classes: 5", "num_classes: 1600"))
    with pytest.raises(InterbertError, match="classes 1600, the weights have 5"):
        load_detector(find_detector(str(folder)))


def test_names_are_numbers_unless_vocabularies_lie_beside(tmp_path: Path) -> None:
    folder = publish(small_detector(), tmp_path)
    plain = load_detector(find_detector(str(folder)))
    assert (plain.classes[4], plain.attributes[2]) == ("object 4", "attribute 2")
    vocabulary(folder / "objects_vocab.txt", SIZES.classes)
    vocabulary(folder / "attributes_vocab.txt", SIZES.attributes)
    named = load_detector(find_detector(str(folder)))
    assert named.classes == tuple(f"thing {number}" for number in range(SIZES.classes))
    assert (named.attributes[2], named.sha256) == ("thing 2", plain.sha256)


def test_of_synonyms_the_first_is_the_name(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("gray,grey\n tall \n\nred")
    assert read_names(tmp_path / "names.txt") == ("gray", "tall", "red")


def test_a_vocabulary_of_another_length_is_an_error(tmp_path: Path) -> None:
    folder = publish(small_detector(), tmp_path)
    names = vocabulary(tmp_path / "names.txt", 7)
    with pytest.raises(InterbertError, match="7 names, the detector 5 objects"):
        published_detector(weights_of(folder), folder / "config.yaml", objects=names)
    with pytest.raises(InterbertError, match=r"nowhere\.txt"):
        published_detector(weights_of(folder), folder / "config.yaml", attributes=tmp_path / "nowhere.txt")


def test_weights_that_were_changed_are_noticed(tmp_path: Path) -> None:
    folder = converted(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["stem.weight"][0, 0, 0, 0] += 1
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InterbertError, match="has changed since it was converted"):
        load_detector(find_detector(str(folder)))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_weights_that_were_cut_off_are_an_error(tmp_path: Path, share: float) -> None:
    path = converted(tmp_path) / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InterbertError, match=r"model\.safetensors' is damaged"):
        load_detector(find_detector(str(path.parent)))


def test_weights_of_another_model_are_an_error(tmp_path: Path) -> None:
    folder = converted(tmp_path)
    save_file({"a": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(InterbertError, match="does not hold this detector's weights"):
        load_detector(find_detector(str(folder)))


def test_another_models_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 768}')
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    published = publish(small_detector(), tmp_path / "published")
    with pytest.raises(InterbertError, match=r"config\.json"):
        convert_detector(weights_of(published), published / "config.yaml", tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"precious"


def test_converting_again_writes_over_the_detector(tmp_path: Path) -> None:
    folder = converted(tmp_path)
    first = load_detector(find_detector(str(folder)))
    save_detector(replace(first, classes=tuple("abcde")), folder)
    assert load_detector(find_detector(str(folder))).classes == tuple("abcde")


@pytest.mark.parametrize("published", [True, False])
def test_an_id_is_found_in_the_hubs_cache_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = publish(small_detector(), tmp_path / "files") if published else converted(tmp_path)
    in_cache(tmp_path / "cache" / "models--unc-nlp--frcnn-vg-finetuned", folder)
    found = describe(find_detector("unc-nlp/frcnn-vg-finetuned"))
    assert found == describe(find_detector(str(folder)))


def in_cache(repository: Path, files: Path) -> None:
    """The files as the hub's library keeps them: blobs, links to them in a snapshot, and a ref."""
    snapshot = repository / "snapshots" / COMMIT
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    for file in files.iterdir():
        blob = repository / "blobs" / sha256_of(file)
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    (repository / "refs" / "main").write_text(COMMIT)


def test_an_id_that_is_nowhere_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("unc-nlp/frcnn-vg-finetuned", "nowhere", "no/such/folder"):
        with pytest.raises(InterbertError, match=f"there is no folder '{name}'"):
            find_detector(name)
