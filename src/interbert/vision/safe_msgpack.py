"""msgpack, as tensorpack and UNITER write it: bytes in; numbers, texts, containers and numpy arrays out.

The format is msgpack's own specification; arrays are maps with the keys of the package msgpack-numpy. Its arrays of
objects are pickles, and refused.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

MAX_DEPTH = 32
_NUMBERS = {  # first byte -> layout of a number
    **{0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"},
    **{0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"},
}
_SIZES = {  # first byte -> what follows the size, and the layout of the size
    **{0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I")},
    **{0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I")},
    **{0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I")},
}
_PLAIN = {0xC0: None, 0xC2: False, 0xC3: True}


class MsgpackRefused(ValueError):
    """What was read is no whole msgpack, or has something that data has no use for."""


def load_msgpack(content: bytes) -> Any:
    """What msgpack bytes hold; keys of maps are texts, bytes among them too. Raises MsgpackRefused."""
    reader = _Reader(content)
    try:
        value = reader.value(0)
    except (struct.error, LookupError, ValueError, TypeError) as error:
        if isinstance(error, MsgpackRefused):
            raise
        raise MsgpackRefused(f"it is no whole msgpack ({error})") from error
    if reader.at != len(content):
        raise MsgpackRefused(f"it is no whole msgpack ({len(content) - reader.at} bytes are left over)")
    return value


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise MsgpackRefused("it is nested too deeply")
        (first,) = self._numbers(">B")
        if first < 0x80 or first >= 0xE0:  # a small number
            return first - (256 if first >= 0xE0 else 0)
        if first in _PLAIN:
            return _PLAIN[first]
        if first in _NUMBERS:
            return self._numbers(_NUMBERS[first])[0]
        if first in _SIZES:
            kind, layout = _SIZES[first]
            return self._sized(kind, self._numbers(layout)[0], depth)
        if first < 0xC0:  # a short map, list or text: its size is in the byte
            kind = ("map", "list", "text", "text")[(first >> 4) - 8]
            return self._sized(kind, first & (0x1F if kind == "text" else 0x0F), depth)
        raise MsgpackRefused(f"it has a value of the unknown kind {first:#04x}")

    def _numbers(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from(layout, self.content, self.at)
        self.at += struct.calcsize(layout)
        return found

    def _sized(self, kind: str, size: int, depth: int) -> Any:
        if size > len(self.content) - self.at:  # every part has a byte at least: nothing is reserved for more
            raise MsgpackRefused("it was cut")
        if kind == "list":
            return [self.value(depth + 1) for _ in range(size)]
        if kind == "map":
            return _array_or_map({_text(self.value(depth + 1)): self.value(depth + 1) for _ in range(size)})
        self.at += size
        found = self.content[self.at - size : self.at]
        return found if kind == "bytes" else found.decode()


def _text(key: Any) -> Any:
    return key.decode("latin1") if isinstance(key, bytes) else key


def _array_or_map(found: dict[Any, Any]) -> Any:
    """The array or the number that msgpack-numpy has put into a map; any other map as it is."""
    if "nd" not in found or "data" not in found:
        return found
    if found.get("kind", b"") not in (b"", ""):
        raise MsgpackRefused("it has an array of objects, which may run code; nothing was run")
    name = _text(found["type"])
    if not isinstance(name, str) or np.dtype(name).kind not in "biufSU":
        raise MsgpackRefused(f"it has an array of type {name!r:.40}; wanted numbers or texts")
    values = np.frombuffer(found["data"], np.dtype(name)) if found["data"] else np.zeros(0, np.dtype(name))
    return values.reshape(tuple(found["shape"])) if found["nd"] else values[0]
