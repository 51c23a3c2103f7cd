"""Builds an index of products and changes it (appendix A.4): a catalogue and a run in, a new whole version out.

First the pictures that are new get regions and vectors, which is long, and goes on where it stopped. Then all products
become a version in one step: a crash leaves the version before.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import interbert
from interbert.corpus.catalogue import Catalogue
from interbert.errors import InterbertError, UsageError
from interbert.files import sha256_of
from interbert.recall.pictures import PictureFiles, PictureRegions, PictureSource, add_pictures, keys_of
from interbert.recall.place import create_store, open_store
from interbert.recall.rows import Failure, ProductRows, write_failures
from interbert.recall.store import Facts, Product, ProductStore, Version
from interbert.scoring.scorer import Scorer, load, run_folder
from interbert.vision.store import RegionStore

log = logging.getLogger(__name__)
FAILURES = "failures.jsonl"
SHOWN = 5  # ids in a line


@dataclass(frozen=True)
class IndexReport:
    """What a change has done. version: the new one; None: all was as it is.  seen: products that were taken.

    new_pictures: whose regions and vectors were computed.  not_there: ids that were to be deleted.
    """

    version: Version | None
    seen: int = 0
    new_pictures: int = 0
    not_there: tuple[str, ...] = ()
    failures: list[Failure] = field(default_factory=list)

    def lines(self, out: Path) -> Iterator[str]:
        """For people."""
        if self.version is None:
            yield f"{out}: nothing has changed"
        else:
            one = self.version
            yield (
                f"{out}: version {one.number} has {one.products} products; {one.added} added, {one.replaced} replaced, "
                f"{one.deleted} deleted, {self.new_pictures} pictures new"
            )
        if self.not_there:
            names = ", ".join(self.not_there[:SHOWN]) + (", …" if len(self.not_there) > SHOWN else "")
            yield f"{len(self.not_there)} that were to be deleted are not there: {names}"
        if self.failures:
            yield f"{len(self.failures)} could not be taken; see {out}/{FAILURES}"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        counts = {"seen": self.seen, "new_pictures": self.new_pictures, "not_there": len(self.not_there)}
        version = None if self.version is None else vars(self.version)
        failures = [vars(failure) for failure in self.failures]
        return {"version": version, **counts, "not_there_ids": list(self.not_there), "failures": failures}


def open_index(folder: str | Path, address: str | None = None) -> ProductStore:
    """The index of a folder. Raises InterbertError where there is none, or one of a newer format.

    address: of the server that has it, `postgresql://…`; None: it is in the folder, or where the folder says.
    """
    return open_store(Path(folder), address)


def scorer_of(
    store: ProductStore,
    place: Path,
    run: str | Path | None = None,
    revision: str | None = None,
    *,
    calibrated: bool = True,
    precision: str = "fp32",
) -> Scorer:
    """The model that an index was made with, from where it was, or from `run`.

    place: the index's folder, which the recorded place may be relative to.  calibrated, precision: as of `load`.
    Raises InterbertError where it is not there or has other weights.
    """
    facts = store.facts
    recorded = place / facts.run
    wanted = run if run is not None else recorded if recorded.is_dir() else facts.run
    try:
        folder = run_folder(wanted, revision)
    except InterbertError as error:
        if run is not None:
            raise
        raise InterbertError(
            f"the model of index '{place}' is not where it was ({error}); say where with --from"
        ) from error
    _check_weights(facts, sha256_of(folder / "model.safetensors"), place, folder)
    return load(folder, calibrated=calibrated, precision=precision)


def index_catalogue(
    catalogue: Catalogue,
    run: str | Path,
    out: Path,
    *,
    revision: str | None = None,
    regions: Path | None = None,
    delete: Sequence[str] = (),
    whole: bool = False,
    address: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> IndexReport:
    """Puts the products of a catalogue into the index in `out`, made or continued, by id, as one new version.

    run: the model.  regions: a region store of the pictures; None: they are read by the run's extractor, with `workers`
    processes.  delete: ids to take out.  whole: also takes out every product that the catalogue does not have.
    address: of a server that holds the index for many machines, `postgresql://…`; `out` is then this machine's part.
    What cannot be taken is in the report and in `out`/failures.jsonl, and stays in the index as it was.
    Raises InterbertError where the index is of another model, another process writes, or no row can be read.
    """
    if catalogue.encoding.name not in ("utf-8", "utf-8-sig"):
        log.warning("'%s' is read as %s", catalogue.path, catalogue.encoding.name.upper())
    scorer, store = _opened(out, run, revision, address)
    with store.writing():
        rows = ProductRows(catalogue, store.columns())
        ids, images = [], []
        for row in rows:
            ids.append(row.id)
            images.append(row.image)
        if whole and (catalogue.malformed.count or not ids):
            why = f"{catalogue.malformed.count} of its rows cannot be read" if ids else "it has no products"
            raise UsageError(
                f"--whole: catalogue '{catalogue.path}' does not say what to take out, since {why}; mend it, or leave "
                "--whole out"
            )
        both = set(ids) & set(delete)
        if both:
            raise UsageError(f"'{min(both)}' is in the catalogue and is to be deleted; take it out of one of them")
        source = _source(catalogue, scorer, regions, workers, progress)
        keys, no_key = keys_of(source, images, progress)
        added, unread = add_pictures(store, source, scorer, list(keys.values()), progress)
        good = {name: key for name, key in keys.items() if key not in unread}
        reasons = no_key | {name: unread[key] for name, key in keys.items() if key in unread}
        there = _ids(store)
        gone = [id for id in dict.fromkeys(delete) if id in there]
        if whole:
            gone += sorted(there - set(ids) - {failure.id for failure in rows.failures} - set(gone))
        taking = _Taking(rows, good, reasons)
        version = store.change(taking, gone, rows.kinds, f"catalogue {catalogue.path.name}")
        failures = rows.failures + taking.failures
        write_failures(out / FAILURES, failures)
    return IndexReport(version, taking.count, added, _not_in(there, delete), failures)


def delete_products(out: Path, ids: Sequence[str], address: str | None = None) -> IndexReport:
    """Takes products out of an index by id, as one new version. address: as of `open_index`."""
    store = open_index(out, address)
    with store.writing():
        there = _ids(store)
        version = store.change((), [id for id in dict.fromkeys(ids) if id in there], {}, "deleted by id")
    return IndexReport(version, not_there=_not_in(there, ids))


def _not_in(there: Collection[str], ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(id for id in dict.fromkeys(ids) if id not in there)


def restore_version(out: Path, number: int, address: str | None = None) -> IndexReport:
    """Makes an older version the newest again, as a new one. address: as of `open_index`."""
    store = open_index(out, address)
    with store.writing():
        return IndexReport(store.restore(number))


class _Taking:
    """The rows whose pictures are there, as products; the others are counted."""

    def __init__(self, rows: ProductRows, keys: Mapping[str, str], reasons: Mapping[str, str]) -> None:
        self._rows, self._keys, self._reasons = rows, keys, reasons
        self.count = 0
        self.failures: list[Failure] = []

    def __iter__(self) -> Iterator[Product]:
        self.count, self.failures = 0, []
        for row in self._rows:
            key = self._keys.get(row.image)
            if key is None:
                reason = self._reasons.get(row.image, "the catalogue changed while it was read")
                self.failures.append(Failure(row.place, row.id, row.image, reason))
                continue
            self.count += 1
            yield Product(row.id, row.title, row.image, key, row.cells)


def _opened(out: Path, run: str | Path, revision: str | None, address: str | None) -> tuple[Scorer, ProductStore]:
    """The model, and the index that is there or a new one for it."""
    folder = run_folder(run, revision)
    scorer = load(folder)
    weights = sha256_of(folder / "model.safetensors")
    local = Path(run).expanduser().is_dir()
    place = os.path.relpath(folder.resolve(), out.resolve()) if local else str(run)
    facts = Facts(
        weights_sha256=weights,
        extractor=scorer.extractor,
        run=place if place.startswith(".") or not local else f"./{place}",
        vector_size=scorer.model.config.fusion_size,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        interbert=interbert.__version__,
    )
    store = create_store(out, facts, address)
    _check_weights(store.facts, weights, out, folder)
    return scorer, store


def _check_weights(facts: Facts, weights: str, place: Path, folder: Path) -> None:
    if facts.weights_sha256 != weights:
        raise InterbertError(
            f"index '{place}' was made with the weights {facts.weights_sha256[:12]}…, '{folder}' has {weights[:12]}…; "
            "scores of two models do not mix: give the run it was made with, or make a new index"
        )


def _source(
    catalogue: Catalogue, scorer: Scorer, regions: Path | None, workers: int | None, progress: bool
) -> PictureSource:
    if regions is None:
        return PictureFiles(catalogue.folder, scorer, workers, progress)
    return PictureRegions(RegionStore(regions), scorer)


def _ids(store: ProductStore) -> set[str]:
    versions = store.versions()
    return store.ids(versions[-1].number) if versions else set()
