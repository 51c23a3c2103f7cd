"""Where an index is: in its folder, or on a server that many machines share and that the folder names in `store.json`.

In: a folder, and perhaps a `postgresql://…` address. Out: its `ProductStore`. Of a shared index, each machine has such
a folder: for what it is about to add, what it skipped, and the scores and measurements that it remembers.
"""

from __future__ import annotations

import json
from pathlib import Path

from interbert.errors import InterbertError
from interbert.files import whole_file, write_json
from interbert.recall.postgres import Address
from interbert.recall.postgres_store import PostgresStore
from interbert.recall.sqlite_store import SqliteStore
from interbert.recall.store import Facts, ProductStore

FORMAT, FORMAT_VERSION = "interbert index on a server", 1
_FILE = "store.json"


def open_store(folder: Path, address: str | None = None) -> ProductStore:
    """The index of a folder.

    address: of the server that has it; a folder that is new is made to name it, without its password.
    Raises InterbertError where there is no index, or the folder belongs to another one.
    """
    server = server_of(folder, address)
    if server is None:
        return SqliteStore(folder)
    store = PostgresStore(folder, server)
    _keep(folder, server)
    return store


def create_store(folder: Path, facts: Facts, address: str | None = None) -> ProductStore:
    """A new index, or the one that is there. Raises InterbertError where the folder holds something else."""
    server = server_of(folder, address)
    if server is None:
        return SqliteStore.create(folder, facts)
    store = PostgresStore.create(folder, facts, server)
    _keep(folder, server)
    return store


def server_of(folder: Path, address: str | None = None) -> Address | None:
    """The server that has the folder's index; None: the folder itself has it. Raises as `open_store`."""
    given = None if address is None else Address.parse(address)
    kept = _kept(folder)
    if given is None or (kept is not None and kept.parts == given.parts):
        return given or kept
    if kept is not None:
        raise InterbertError(f"'{folder}' belongs to the index at {kept}, not {given}; give a folder of its own")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "has an index of its own" if (folder / "index.json").is_file() else "is not empty and not an index"
        raise InterbertError(f"'{folder}' {what}; give a new folder for the one at {given}")
    return given


def _kept(folder: Path) -> Address | None:
    """What `store.json` says."""
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ValueError(f"it has format '{value['format']}'")
        if value["version"] > FORMAT_VERSION:
            raise InterbertError(f"'{path}' has version {value['version']}, this interbert reads {FORMAT_VERSION}")
        return Address({str(name): str(part) for name, part in value["postgresql"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InterbertError(f"'{path}' does not name a server ({error}); delete it and give --store again") from error


def _keep(folder: Path, server: Address) -> None:
    if (folder / _FILE).is_file():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _FILE, {"format": FORMAT, "version": FORMAT_VERSION, "postgresql": dict(server.parts)})
        with whole_file(folder / "README.md") as file:
            file.write(_readme(server))
    except OSError as error:
        raise InterbertError(f"'{folder}' cannot be made ({error.strerror}); give another folder") from error


def _readme(server: Address) -> str:
    return (
        f"# A machine's part of the index at {server}\n\n"
        "For `interbert recall FOLDER TOPIC`. Products, regions and vectors are on the server; `store.json` says\n"
        "where, and has no password: that is taken from PGPASSWORD or ~/.pgpass. `regions/` has the regions that this\n"
        "machine computed, and can be deleted while nothing writes, like `scores.sqlite`, which it computes again;\n"
        "`failures.jsonl` names what was skipped.\n"
    )
