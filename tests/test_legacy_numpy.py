from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from legacy_writers import (
    Picture,
    picture,
    write_bua_npz,
    write_mmf_npy,
    write_uniter_npz,
    write_vilbert_npy,
)
from test_safe_pickle import Makes

from interbert.errors import InterbertError
from interbert.vision import legacy_numpy
from interbert.vision.legacy_numpy import BuaNpz, MmfNpy, UniterNpz, load_npy
from interbert.vision.legacy_records import Found, Unusable
from interbert.vision.legacy_sources import Item, Place, Source
from interbert.vision.safe_pickle import PickleRefused

FORMS = [
    (UniterNpz, write_uniter_npz),
    (BuaNpz, write_bua_npz),
    (MmfNpy, write_mmf_npy),
    (MmfNpy, write_vilbert_npy),
]


def items(source: Source) -> list[Item]:
    return list(source.items(Place()))


def refused(read: Callable[[], Found]) -> str:
    with pytest.raises((Unusable, PickleRefused)) as error:
        read()
    return str(error.value)


@pytest.mark.parametrize(("format", "write"), FORMS)
def test_every_format_is_read(
    tmp_path: Path, format: type[Source], write: Callable[[Path, Sequence[Picture]], Path]
) -> None:
    of = picture("train/84002")
    (tmp_path / "train").mkdir()
    source = format(write(tmp_path, [of]))
    (item,) = items(source)
    found = item.read()
    assert (source.total(), item.id) == (1, "train/84002")
    np.testing.assert_allclose(found.features, of.features)
    if format is UniterNpz:
        assert found.image_size is None
        np.testing.assert_allclose(found.boxes * [640, 480, 640, 480], of.boxes, atol=0.2)
    else:
        assert found.image_size == (640, 480)
        np.testing.assert_array_equal(found.boxes, of.boxes)


def test_uniter_says_how_sure_it_is_and_of_what(tmp_path: Path) -> None:
    of = picture()
    found = items(UniterNpz(write_uniter_npz(tmp_path, [of])))[0].read()
    assert found.confidence is not None
    assert found.probabilities is not None
    np.testing.assert_allclose(found.confidence, of.confidence, atol=1e-3)
    np.testing.assert_allclose(found.probabilities, of.probabilities, atol=1e-3)
    assert found.background is True


def test_bua_has_objects_and_attributes_in_its_pickle(tmp_path: Path) -> None:
    of = picture()
    found = items(BuaNpz(write_bua_npz(tmp_path, [of])))[0].read()
    for ours, theirs in (
        (found.labels, of.objects),
        (found.confidence, of.confidence),
        (found.attributes, of.attributes),
        (found.attribute_confidence, of.attribute_confidence),
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_mmf_npy(tmp_path, [picture("b"), picture("a"), picture("c")])
    assert [item.id for item in items(MmfNpy(tmp_path))] == ["a", "b", "c"]
    assert [item.id for item in MmfNpy(tmp_path).items(Place(2))] == ["c"]


def test_features_without_their_boxes_are_unusable(tmp_path: Path) -> None:
    write_mmf_npy(tmp_path, [picture()])
    (tmp_path / "84002_info.npy").unlink()
    assert refused(items(MmfNpy(tmp_path))[0].read) == "there is no '84002_info.npy' beside it, which has the boxes"


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_file_is_unusable_wherever_it_was_cut(
    tmp_path: Path, form: tuple[type[Source], Callable[[Path, Sequence[Picture]], Path]]
) -> None:
    format, write = form
    (item,) = items(format(write(tmp_path, [picture()])))
    path = next(path for path in tmp_path.iterdir() if path.stem == "84002")
    whole = path.read_bytes()
    for end in range(0, len(whole), len(whole) // 15):
        path.write_bytes(whole[:end])
        assert refused(item.read).startswith(("it is no whole ", "it has no", "boxes"))
    path.unlink()
    assert "No such file" in refused(item.read)


def test_a_malicious_pickle_in_a_file_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    evil = np.empty((), object)
    evil[()] = Makes(tmp_path / "made")
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "a.npz", x=picture().features, bbox=picture().boxes, info=evil)
    np.save(tmp_path / "in" / "a.npy", evil)
    for source in (BuaNpz(tmp_path / "in"), MmfNpy(tmp_path / "in")):
        assert f"asks for '{os.mkdir.__module__}.mkdir', which may run code" in refused(items(source)[0].read)
    assert not (tmp_path / "made").exists()


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy_numpy, "MAX_FILE_BYTES", 1000)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1000))
    assert "more than 1,000 bytes" in refused(items(BuaNpz(tmp_path))[0].read)
    np.save(tmp_path / "a.npy", np.zeros(1000))
    assert "wanted at most 1,000" in refused(items(MmfNpy(tmp_path))[0].read)


def test_only_the_arrays_that_are_wanted_are_read(tmp_path: Path) -> None:
    write_uniter_npz(tmp_path, [picture()])
    with zipfile.ZipFile(tmp_path / "84002.npz", "a") as archive:
        archive.writestr("allow_pickle.npy", b"no array")
    assert len(items(UniterNpz(tmp_path))[0].read().boxes) == 3


def test_an_array_of_an_unknown_version_or_another_object_is_unusable() -> None:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.zeros(2), version=(3, 0))
    assert "npy of version (3, 0)" in refused(lambda: load_npy(content.getvalue()))  # type: ignore[arg-type,return-value]
    with pytest.raises(Unusable, match="no dictionary"):
        legacy_numpy._dictionary(np.array([1, 2]))


def test_a_folder_without_such_files_and_a_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"has no \.npz files"):
        UniterNpz(tmp_path)
    (tmp_path / "a.npz").write_bytes(b"")
    with pytest.raises(InterbertError, match=r"is a file; give the folder of \.npz files"):
        UniterNpz(tmp_path / "a.npz")
