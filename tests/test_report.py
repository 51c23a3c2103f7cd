"""`report.html` of a run."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from interbert.training.report import Example, Picture, Shown, Table, write_report
from interbert.webpage import chart, picture_uri

LINES = [
    {"step": 10, "stage": "msm+itm", "losses": {"words": 8.0, "match": 0.7}, "seconds": 60.0},
    {"step": 20, "stage": "msm+itm", "losses": {"words": 4.0, "match": 0.6}, "seconds": 120.0},
    {"step": 20, "validation": {"matching_accuracy": 0.625, "match_loss": 0.65}},
]


class Checker(HTMLParser):
    """Counts tags, and looks for what would load something from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href") and not (value or "").startswith("data:"):
                self.outside.append(f"{tag} {name}={value}")


def checked(page: Path) -> Checker:
    checker = Checker()
    checker.feed(page.read_text(encoding="utf-8"))
    return checker


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "a-run"
    folder.mkdir()
    (folder / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    return folder


def test_each_loss_and_each_accuracy_has_a_curve(run: Path) -> None:
    text = write_report(run).read_text(encoding="utf-8")
    labels = re.findall(r'<svg [^>]*aria-label="([^"]*)"', text)
    assert labels == ["Loss of words", "Loss of match", "Matching accuracy, held out"]


def test_the_last_numbers_stand_in_the_table(run: Path) -> None:
    text = write_report(run).read_text(encoding="utf-8")
    assert "<td>steps</td><td class=number>20</td>" in text
    assert "<td>minutes</td><td class=number>2.0</td>" in text
    assert "<td>matching accuracy, held out</td><td class=number>0.625</td>" in text


def test_a_curve_goes_down_where_the_loss_does() -> None:
    drawn = chart("Loss", {"training": [(0, 8.0), (10, 4.0), (20, 6.0)]})
    points = re.search(r'points="([^"]*)"', drawn)
    assert points is not None
    heights = [float(point.split(",")[1]) for point in points[1].split()]
    assert heights[1] > heights[2] > heights[0]  # SVG counts downwards


def test_numbers_that_are_not_finite_are_left_out_of_a_curve() -> None:
    assert "nan" not in chart("Loss", {"training": [(0, 1.0), (1, float("nan")), (2, 0.5)]})
    assert chart("Loss", {"training": [(0, float("inf"))]}) == ""


def test_examples_show_their_pictures_and_scores(run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    examples = [Example("a red thing", tmp_path / "red.png", 0.93, True), Example("a cat", None, 0.07, False)]
    page = write_report(run, examples)
    text = page.read_text(encoding="utf-8")
    assert "<b>0.93</b> a red thing" in text
    assert "<b>0.07</b> a cat" in text
    assert text.count('src="data:image/webp;base64,') == 1


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_script(run: Path) -> None:
    found = checked(write_report(run))
    assert found.outside == []
    assert "script" not in found.tags
    assert "link" not in found.tags


def test_texts_are_shown_as_they_are_and_never_as_html(run: Path) -> None:
    page = write_report(run, [Example("<script>alert(1)</script> & more", None, 0.5, True)])
    assert "script" not in checked(page).tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page.read_text(encoding="utf-8")


def test_a_run_without_a_journal_has_a_report_that_says_so(tmp_path: Path) -> None:
    assert "There is no training.jsonl" in write_report(tmp_path).read_text(encoding="utf-8")


def test_a_picture_is_made_small_and_a_missing_one_is_none(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1000), "blue").save(tmp_path / "big.png")
    uri = picture_uri(tmp_path / "big.png")
    assert uri is not None
    assert len(uri) < 2000
    assert picture_uri(tmp_path / "none.png") is None


def test_boxes_are_drawn_into_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "white").save(tmp_path / "white.png")
    drawn = seen(picture_uri(tmp_path / "white.png", 288, [(0.0, 0.0, 1.0, 1.0)]))
    assert drawn.size == (288, 192)
    assert drawn.getpixel((70, 50)) == (255, 255, 255)
    for corner in ((0, 50), (287, 191)):
        assert sum(seen_colour(drawn, corner)[:2]) > 2 * seen_colour(drawn, corner)[2] + 60  # orange


def test_a_photo_that_was_held_upright_is_shown_upright_and_what_is_transparent_white(tmp_path: Path) -> None:
    photo = Image.new("RGB", (300, 200), "white")
    photo.paste("blue", (0, 0, 100, 200))  # its left, which is its top as it was held
    exif = photo.getexif()
    exif[0x0112] = 6  # turned a quarter to the right
    photo.save(tmp_path / "held.jpg", exif=exif)
    shown = seen(picture_uri(tmp_path / "held.jpg", 288))
    assert shown.size == (192, 288)
    assert seen_colour(shown, (100, 10))[0] < 60 < 200 < seen_colour(shown, (100, 250))[0]
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert seen_colour(seen(picture_uri(tmp_path / "clear.png")), (4, 4)) == (255, 255, 255)


def seen(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(BytesIO(b64decode(uri.partition(",")[2]))).convert("RGB")


def seen_colour(image: Image.Image, at: tuple[int, int]) -> tuple[int, ...]:
    colour = image.getpixel(at)
    assert isinstance(colour, tuple)
    return colour


def test_a_picture_that_is_not_there_any_more_is_said(run: Path, tmp_path: Path) -> None:
    text = write_report(run, shown=[Shown("a dog", "no", False, (Picture(tmp_path / "none.png"),))]).read_text()
    assert "the picture is not there any more" in text


def test_an_example_has_its_score_and_a_picture_without_one_no_zero(run: Path) -> None:
    shown = [Shown("how many?", "two", True, (Picture(None, "its picture"),), score=0.42)]
    text = write_report(run, shown=shown, about="finetuned for vqa").read_text(encoding="utf-8")
    assert "<b>0.42</b> <span class=soft>two</span>" in text
    assert "<figcaption>its picture</figcaption>" in text
    assert f"{run.name}: finetuned for vqa" in text


def test_a_table_stands_in_the_report_with_its_cells_escaped(run: Path) -> None:
    table = Table(("ours", "paper"), (("recall_at_1", ("<0.5>", "0.619")),))
    text = write_report(run, table=table).read_text(encoding="utf-8")
    assert "<td>recall at 1</td><td class=number>&lt;0.5&gt;</td><td class=number>0.619</td>" in text
    assert "<h2>Figures</h2>" not in write_report(run, table=Table((), ())).read_text(encoding="utf-8")
