from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interbert.vision.safe_pickle import PickleRefused, load_pickle

DATA: dict[str, Any] = {
    "features": np.arange(12, dtype=np.float32).reshape(3, 4),
    "by columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 4), np.float16),
    "no dimension": np.array(7),
    "text": np.array(["red", "blue"]),
    "scalar": np.float32(0.5),
    "id": "84002",
    "parts": [1, (2.5, None), {True}, frozenset({3}), b"bytes"],
    "ordered": OrderedDict(a=1),
}


class Makes:
    """Pickles to a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, np.ndarray | np.generic):
        native = ours.dtype.newbyteorder("=")  # numpy turns the bytes round in some protocols
        np.testing.assert_array_equal(ours.astype(native), theirs.astype(native), strict=True)
        assert theirs.dtype.newbyteorder("=") == native
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert_same(ours[name], theirs[name])
    else:
        assert ours == theirs
        assert type(ours) is type(theirs)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_come_out_as_pickle_gives_them(protocol: int) -> None:
    content = pickle.dumps(DATA, protocol)
    ours = load_pickle(content)
    ours["ordered"] = OrderedDict(ours["ordered"])  # a plain dictionary is enough
    assert_same(ours, pickle.loads(content))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_objects_are_read_through(protocol: int) -> None:
    objects = np.array([{"a": np.arange(2)}, "b"], object)
    found = load_pickle(pickle.dumps(objects, protocol))
    assert found.shape == (2,)
    assert found[0]["a"].tolist() == [0, 1]
    assert load_pickle(pickle.dumps(np.array({"a": 1}, object), protocol)).item() == {"a": 1}


def test_a_pickle_of_python_2_is_read() -> None:
    # cPickle.dumps({'image_id': 42, 'features': 'AAAA', 'boxes': numpy.array([1.5], 'f4')}, 2) of Python 2.7
    content = (
        b"\x80\x02}q\x01(U\x08image_idq\x02K*U\x08featuresq\x03U\x04AAAAq\x04U\x05boxesq\x05cnumpy.core.multiarray\n"
        b"_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08(K\x01K\x01\x85cnumpy\ndtype\nq\tU\x02f4K\x00"
        b"K\x01\x87Rq\n(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x00\xc0?tbu."
    )
    pickletools.dis(content, io.StringIO())
    found = load_pickle(content)
    assert (found["image_id"], found["features"], found["boxes"].tolist()) == (42, "AAAA", [1.5])


@pytest.mark.parametrize("where", ["alone", "in a list", "in an array"])
def test_a_pickle_that_would_make_a_file_is_refused_and_says_why(tmp_path: Path, where: str) -> None:
    made, forms = tmp_path / "made", {"alone": lambda x: x, "in a list": lambda x: [1, x], "in an array": _in_array}
    content = pickle.dumps(forms[where](Makes(made)))
    with pytest.raises(PickleRefused, match=r"asks for '\w+\.mkdir', which may run code.*nothing was run"):
        load_pickle(content)
    assert not made.exists()
    pickle.loads(content)  # and it would have
    assert made.exists()


def _in_array(value: Any) -> Any:
    array = np.empty(1, object)
    array[0] = value
    return array


@pytest.mark.parametrize(
    "name",
    [
        "builtins\neval",
        "builtins\ngetattr",
        "__builtin__\nexec",
        "numpy\nload",
        "numpy.core.multiarray\nfromfile",
        "numpy\ncore.multiarray._reconstruct",
        "torch._utils\n_rebuild_tensor_v2",
        "interbert.vision.safe_pickle\n_array",
    ],
)
def test_no_other_name_is_given(name: str) -> None:
    with pytest.raises(PickleRefused, match="asks for"):
        load_pickle(f"c{name}\n.".encode())


def test_types_whose_bytes_would_be_taken_for_addresses_are_refused() -> None:
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    objects = head + b"(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI00\nS'AAAAAAAA'\ntb."
    with pytest.raises(PickleRefused, match="without its list"):
        load_pickle(objects)
    compound = pickle.dumps(np.zeros(2, [("a", "f4")]))
    with pytest.raises(PickleRefused, match="compound|array of type"):
        load_pickle(compound)
    short = head + b"(I1\n(I9\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntRI00\nS'AAAA'\ntb."
    with pytest.raises(PickleRefused, match="4 bytes, wanted 36"):
        load_pickle(short)


def test_numbers_reserve_no_memory() -> None:
    for name in (b"bytes", b"bytearray"):
        with pytest.raises(PickleRefused, match="unknown way"):
            load_pickle(b"cbuiltins\n" + name + b"\n(I999999999999\ntR.")


def test_a_pickle_that_was_cut_is_refused() -> None:
    content = pickle.dumps(DATA)
    for end in range(0, len(content) - 1, 7):
        with pytest.raises(PickleRefused):
            load_pickle(content[:end])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_gives_data_or_a_refusal(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps(DATA, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PickleRefused):
        load_pickle(bytes(content))


def test_what_is_used_many_times_is_walked_once() -> None:
    shared: list[object] = []
    for _ in range(60):
        shared = [shared, shared]
    found = load_pickle(pickle.dumps(shared))
    assert found[0] is found[1]


def test_a_container_that_holds_itself_is_refused() -> None:
    around: list[object] = []
    around.append(around)
    with pytest.raises(PickleRefused, match="a container that holds itself"):
        load_pickle(pickle.dumps(around))


@pytest.mark.parametrize("put", [b"r\x00\xc2\xeb\x0b", b"p200000000\n"])
def test_a_large_number_in_the_memo_takes_no_memory(put: bytes) -> None:
    with pytest.raises(PickleRefused, match="it numbers an object 200000000"):
        load_pickle(b"\x80\x02]" + put + b".")
