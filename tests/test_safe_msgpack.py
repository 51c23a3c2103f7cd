"""msgpack: each of its forms by the bytes of its specification."""

from __future__ import annotations

import random
import struct
from typing import Any

import numpy as np
import pytest
from legacy_writers import msgpack_of

from interbert.vision.safe_msgpack import MsgpackRefused, load_msgpack


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"\x00", 0),
        (b"\x7f", 127),
        (b"\xff", -1),
        (b"\xe0", -32),
        (b"\xc0", None),
        (b"\xc2", False),
        (b"\xc3", True),
        (b"\xca\x3f\xc0\x00\x00", 1.5),
        (b"\xcb\x3f\xf8" + bytes(6), 1.5),
        (b"\xcc\xff", 255),
        (b"\xcd\x01\x00", 256),
        (b"\xce\x00\x01\x00\x00", 65536),
        (b"\xcf" + b"\xff" * 8, 2**64 - 1),
        (b"\xd0\x80", -128),
        (b"\xd1\xff\x7f", -129),
        (b"\xd2\x80\x00\x00\x00", -(2**31)),
        (b"\xd3\x80" + bytes(7), -(2**63)),
        (b"\xa3dog", "dog"),
        (b"\xbf" + b"x" * 31, "x" * 31),
        (b"\xd9\x03dog", "dog"),
        (b"\xda\x00\x02\xc3\xbc", "\u00fc"),
        (b"\xdb\x00\x00\x00\x01a", "a"),
        (b"\xc4\x02\x00\xff", b"\x00\xff"),
        (b"\xc5\x00\x01a", b"a"),
        (b"\xc6\x00\x00\x00\x00", b""),
        (b"\x92\x01\xa1a", [1, "a"]),
        (b"\xdc\x00\x01\x07", [7]),
        (b"\xdd\x00\x00\x00\x01\x07", [7]),
        (b"\x81\xa1a\x01", {"a": 1}),
        (b"\x81\xc4\x01a\x01", {"a": 1}),
        (b"\xde\x00\x01\xa1a\x01", {"a": 1}),
        (b"\xdf\x00\x00\x00\x01\xa1a\x90", {"a": []}),
    ],
)
def test_every_form_is_read(content: bytes, value: Any) -> None:
    found = load_msgpack(content)
    assert found == value
    assert type(found) is type(value)


def test_arrays_and_numbers_of_numpy_are_read() -> None:
    for array in (np.arange(6, dtype="<f4").reshape(2, 3), np.zeros((0, 4), "<f2"), np.array([1, 2], ">i8")):
        np.testing.assert_array_equal(load_msgpack(msgpack_of(array)), array, strict=True)
    number = load_msgpack(msgpack_of({b"nd": False, b"type": "<f4", b"data": struct.pack("<f", 0.5)}))
    assert number == np.float32(0.5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (msgpack_of({b"nd": True, b"kind": b"O", b"type": "|O", b"shape": [1], b"data": b"x"}), "may run code"),
        (msgpack_of({b"nd": True, b"kind": b"", b"type": "|O", b"shape": [1], b"data": b"12345678"}), "array of type"),
        (msgpack_of({b"nd": True, b"kind": b"", b"type": "<f4", b"shape": [9], b"data": b"1234"}), "no whole msgpack"),
        (b"\x91" * 40 + b"\x01", "nested too deeply"),
        (b"\xdd\xff\xff\xff\xff\x01", "was cut"),
        (b"\xc7\x01\x01a", "unknown kind 0xc7"),
        (b"\xa2\xff\xff", "no whole msgpack"),
        (b"\x81\x90\x01", "no whole msgpack"),
        (b"\x01\x02", "1 bytes are left over"),
        (b"", "no whole msgpack"),
    ],
)
def test_what_is_no_data_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(MsgpackRefused, match=words):
        load_msgpack(content)


def test_damage_gives_data_or_a_refusal_and_a_cut_always_a_refusal() -> None:
    whole, numbers = msgpack_of([np.arange(6, dtype="<f4"), "84002", {"a": [1, 200]}]), random.Random(2)
    for end in range(len(whole)):
        with pytest.raises(MsgpackRefused):
            load_msgpack(whole[:end])
    for _ in range(2000):
        content = bytearray(whole)
        content[numbers.randrange(len(content))] = numbers.randrange(256)
        try:
            load_msgpack(bytes(content))
        except MsgpackRefused:
            continue
