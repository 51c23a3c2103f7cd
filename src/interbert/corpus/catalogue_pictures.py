"""The main pictures of a catalogue as sources for extraction; those named by an address are fetched first.

In: a Catalogue. Out: one ImageSource a picture, under the id by which its corpus finds it, and what failed.
"""

from __future__ import annotations

from pathlib import Path

from interbert.corpus.catalogue import Catalogue, is_address, picture_id
from interbert.errors import UsageError
from interbert.vision.download import Downloader, fetch_pictures
from interbert.vision.sources import ImageSource, check_ids


def picture_sources(
    catalogue: Catalogue,
    downloads: str | Path | None = None,
    downloader: Downloader | None = None,
    *,
    progress: bool = False,
) -> tuple[list[ImageSource], dict[str, str]]:
    """The pictures, each once, and address -> reason of those that could not be fetched.

    downloads: the folder into which addresses are fetched.  Raises UsageError where there are addresses and no folder,
    or no pictures, InterbertError where two pictures have one id (both are named).
    """
    images = dict.fromkeys(product.images[0] for product in catalogue if product.images)
    addresses = [image for image in images if is_address(image)]
    if addresses and downloads is None:
        raise UsageError(
            f"catalogue '{catalogue.path}': {len(addresses):,} pictures are addresses on the web, such as "
            f"{addresses[0]}; give --download FOLDER to fetch them, or the pictures as files"
        )
    files, failed = fetch_pictures(addresses, downloads, downloader, progress=progress) if downloads else ({}, {})
    found = [
        ImageSource(picture_id(image), files[image] if is_address(image) else catalogue.folder / image)
        for image in images
        if not is_address(image) or image in files
    ]
    if not images:
        raise UsageError(f"catalogue '{catalogue.path}' names no pictures")
    sources = list(dict.fromkeys(found))
    check_ids(sources)
    return sources, failed
