from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from legacy_writers import (
    Picture,
    msgpack_of,
    picture,
    tensorpack_values,
    write_lmdb,
    write_mmf_lmdb,
    write_tensorpack_lmdb,
    write_uniter_lmdb,
    write_uniter_plain_lmdb,
    write_vilbert_lmdb,
    write_volta_h5_lmdb,
)
from test_safe_pickle import Makes

from interbert.vision.legacy_lmdb import MmfLmdb, TensorpackLmdb, UniterLmdb, VilbertLmdb
from interbert.vision.legacy_records import Found, Unusable
from interbert.vision.legacy_sources import Place, Source
from interbert.vision.safe_pickle import PickleRefused

pytest.importorskip("lmdb")


def write_volta_lmdb(folder: Path, pictures: Sequence[Picture]) -> Path:
    return write_vilbert_lmdb(folder, pictures, columns=13)


def write_volta_pretraining(folder: Path, pictures: Sequence[Picture]) -> Path:
    return write_tensorpack_lmdb(folder, pictures, columns=13)


def write_pickled_lists(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As tensorpack's other serializer."""
    values = {f"{at:08}".encode(): pickle.dumps(tensorpack_values(of)) for at, of in enumerate(pictures)}
    return write_lmdb(folder, {**values, b"__keys__": pickle.dumps(list(values))})


FORMS = [
    (TensorpackLmdb, write_tensorpack_lmdb),
    (TensorpackLmdb, write_volta_pretraining),
    (TensorpackLmdb, write_pickled_lists),
    (UniterLmdb, write_uniter_plain_lmdb),
    (VilbertLmdb, write_vilbert_lmdb),
    (VilbertLmdb, write_volta_lmdb),
    (VilbertLmdb, write_volta_h5_lmdb),
    (MmfLmdb, write_mmf_lmdb),
    (UniterLmdb, write_uniter_lmdb),
]


def everything(source: Source) -> list[tuple[str, Found]]:
    return [(item.id, item.read()) for item in source.items(Place())]


@pytest.mark.parametrize(("format", "write"), FORMS)
def test_every_format_is_read(
    tmp_path: Path, format: type[Source], write: Callable[[Path, Sequence[Picture]], Path]
) -> None:
    of, other = picture("84002", features=600), picture("9", 5)
    source = format(write(tmp_path / "a.lmdb", [of, other]))
    (first, found), (second, also_found) = everything(source)
    assert source.total() == 3  # with the list of keys
    assert (first, second) == (("train/84002", "train/9") if format is MmfLmdb else ("84002", "9"))
    np.testing.assert_allclose(found.features, of.features)
    if format is UniterLmdb:
        assert found.image_size is None
    else:
        assert found.image_size == (640, 480)
        np.testing.assert_array_equal(found.boxes, of.boxes)
    assert len(also_found.boxes) == 5


def test_objects_are_known_in_all_forms_of_volta(tmp_path: Path) -> None:
    of = picture()
    for at, write in enumerate((write_volta_lmdb, write_volta_h5_lmdb)):
        ((_, found),) = everything(VilbertLmdb(write(tmp_path / f"{at}.lmdb", [of])))
        labels = found.labels if found.probabilities is None else found.probabilities[:, 1:].argmax(1)
        np.testing.assert_array_equal(labels, of.objects)
        np.testing.assert_array_equal(found.attributes, of.attributes)


def test_a_malicious_pickle_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    values = {
        b"7": pickle.dumps({"features": Makes(tmp_path / "made")}),
        b"keys": pickle.dumps(Makes(tmp_path / "made")),
    }
    with pytest.raises(PickleRefused, match="may run code"):
        everything(VilbertLmdb(write_lmdb(tmp_path / "a.lmdb", values)))
    assert not (tmp_path / "made").exists()


def test_values_of_another_kind_are_unusable(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "a.lmdb", {b"7": pickle.dumps([1, 2])})
    with pytest.raises(Unusable, match="a pickled list, wanted a dictionary"):
        everything(VilbertLmdb(path))
    with pytest.raises(Unusable, match="no whole msgpack"):
        everything(UniterLmdb(path))
    with pytest.raises(Unusable, match="no list of 8 or 13 parts"):
        everything(TensorpackLmdb(path))
    assert [item.id for item in TensorpackLmdb(path).items(Place())] == ["7"]
    path = write_lmdb(tmp_path / "b.lmdb", {b"7": msgpack_of([1, 2])})
    with pytest.raises(Unusable, match="neither an npz nor msgpack of a map"):
        everything(UniterLmdb(path))


def test_lists_go_on_behind_the_number_that_was_reached(tmp_path: Path) -> None:
    source = TensorpackLmdb(write_tensorpack_lmdb(tmp_path / "a.lmdb", [picture("9"), picture("7"), picture("8")]))
    assert [item.id for item in source.items(Place())] == ["9", "7", "8"]
    assert [item.id for item in source.items(Place(2))] == ["8"]
