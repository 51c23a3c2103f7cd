"""Other people's pickles without their danger: bytes in; numbers, texts, containers and numpy arrays out, nothing else.

A pickle is a program that may call any function it names. Here every name it may use stands in a table, and what the
table gives is ours: plain dtypes and their bytes, never numpy's own `__setstate__`, which trusts what it is given.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MAX_ARRAY_BYTES = 1 << 26  # of one array; 300 regions of 2048 float32 are 2.4 MB
_CYCLE = object()
_PLAIN = re.compile(r"[<>|=]?(?:[biufc][0-9]{1,2}|[?bBhHiIlLqQefdg]|[SUa][0-9]{0,7}|O8?)")


class PickleRefused(ValueError):
    """What was read is damaged, or names something that data has no use for. Nothing of it was run."""


def load_pickle(content: bytes | IO[bytes]) -> Any:
    """What a pickle of any protocol holds, also of Python 2 (its byte strings become texts, by Latin-1).

    Raises PickleRefused for a name that is not allowed (it says which) and for bytes that are no whole pickle.
    """
    whole = bytes(content) if isinstance(content, bytes | bytearray | memoryview) else content.read()
    try:
        _refuse_large_memo(whole)
        return _plain(_Reader(io.BytesIO(whole), encoding="latin1").load(), {})
    except PickleRefused:
        raise
    except Exception as error:  # a damaged pickle raises nearly everything
        raise PickleRefused(f"it is no whole pickle ({type(error).__name__}: {error})") from error


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = module.replace("numpy._core.", "numpy.core.").replace("__builtin__", "builtins")  # numpy 2, Python 2
        found = _ALLOWED.get((known, name))
        if found is None:
            raise PickleRefused(
                f"its pickle asks for '{module}.{name}', which may run code; only numpy arrays and plain containers "
                "are read, and nothing was run"
            )
        return found


class _Type:
    """A dtype as a pickle describes it."""

    def __init__(self, name: str | bytes, align: Any = False, copy: Any = True) -> None:
        text = name.decode("latin1") if isinstance(name, bytes) else name
        if not isinstance(text, str) or not _PLAIN.fullmatch(text):
            raise PickleRefused(f"it has an array of type {text!r}; wanted numbers, texts or objects")
        self.plain = np.dtype(text)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Of the whole state only the byte order counts for a plain type; fields and sub-arrays are not plain."""
        order, parts = state[1], state[2:5]
        if order not in ("<", ">", "=", "|", "", None) or any(parts):
            raise PickleRefused("it has an array of a compound type; wanted numbers, texts or objects")
        if order in ("<", ">"):
            self.plain = self.plain.newbyteorder(order)


class _Array:
    """An array as a pickle describes it: made empty, filled by its state."""

    def __init__(self, kind: Any = None, shape: Any = (0,), code: Any = b"b") -> None:
        if kind is not _ArrayKind:
            raise PickleRefused("it has a kind of array of its own; wanted numpy's")
        self.value: NDArray[Any] = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, kind, by_columns, data = state[-4:]
        self.value = _array(data, kind, shape, "F" if by_columns else "C")


class _ArrayKind:
    """Stands where a pickle names `numpy.ndarray`: an argument, never called."""

    def __init__(self, *_: Any) -> None:
        raise PickleRefused("it makes an array in an unknown way")


def _array(data: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    sizes = tuple(shape)
    if not isinstance(kind, _Type) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise PickleRefused(f"it has an array of shape {sizes!r:.60}")
    if kind.plain.hasobject:
        if not isinstance(data, list):
            raise PickleRefused("it has an array of objects without its list")
        objects = np.empty(len(data), object)
        seen: dict[int, Any] = {}
        objects[:] = [_plain(entry, seen) for entry in data]
        return objects.reshape(sizes, order=_order(order))
    content = data.encode("latin1") if isinstance(data, str) else data  # a text: written by Python 2
    wanted = int(np.prod(sizes, dtype=object)) * kind.plain.itemsize
    if len(content) != wanted or wanted > MAX_ARRAY_BYTES:
        raise PickleRefused(f"it has an array of {len(content)} bytes, wanted {wanted} for its shape {sizes!r:.60}")
    return np.frombuffer(content, kind.plain).reshape(sizes, order=_order(order))


def _order(order: Any) -> Any:
    return "F" if order in ("F", b"F") else "C"


def _from_buffer(buffer: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    return _array(bytes(buffer), kind, shape, order)


def _scalar(kind: Any, data: Any = b"") -> Any:
    return _array(data, kind, (1,), "C")[0]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Python 3 writes bytes so in the protocols of Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise PickleRefused("it encodes a text in an unknown way")
    return text.encode("latin1")


def _bytes(*given: Any) -> bytes:
    """Empty bytes and byte arrays; a number would reserve as much memory as it says."""
    if len(given) > 1 or not all(isinstance(part, bytes) for part in given):
        raise PickleRefused("it makes bytes in an unknown way")
    return bytes(*given)


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _ArrayKind,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
}


def _refuse_large_memo(content: bytes) -> None:
    """A pickle numbers what it uses again; Python makes room for the largest number that it names."""
    for code, number, _ in pickletools.genops(content):
        if code.name in ("LONG_BINPUT", "PUT") and int(number or 0) > len(content):
            raise PickleRefused(f"it numbers an object {number}, in {len(content)} bytes")


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """The same with numpy's arrays in place of our stand-ins. seen: what was made of containers, by their id."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, _Type):
        return value.plain
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return value
    if id(value) not in seen:  # one that is used many times is walked once
        seen[id(value)] = _CYCLE
        if isinstance(value, dict):
            seen[id(value)] = {_plain(key, seen): _plain(entry, seen) for key, entry in value.items()}
        else:
            seen[id(value)] = type(value)(_plain(entry, seen) for entry in value)
    if seen[id(value)] is _CYCLE:
        raise PickleRefused("it has a container that holds itself")
    return seen[id(value)]
