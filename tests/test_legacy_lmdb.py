from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from legacy_writers import (
    Picture,
    picture,
    write_lmdb,
    write_mmf_lmdb,
    write_uniter_lmdb,
    write_vilbert_lmdb,
    write_volta_h5_lmdb,
)
from test_safe_pickle import Makes

from interbert.vision.legacy_lmdb import MmfLmdb, UniterLmdb, VilbertLmdb
from interbert.vision.legacy_records import Found, Unusable
from interbert.vision.legacy_sources import Place, Source
from interbert.vision.safe_pickle import PickleRefused

pytest.importorskip("lmdb")


def write_volta_lmdb(folder: Path, pictures: Sequence[Picture]) -> Path:
    return write_vilbert_lmdb(folder, pictures, columns=13)


FORMS = [
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
    with pytest.raises(Unusable, match="the compressed ones are read"):
        everything(UniterLmdb(path))
