import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interbert.corpus.readers import READERS, Caption, Captions, Fields
from interbert.errors import InterbertError, UsageError

keys = st.sampled_from(
    ["images", "annotations", "id", "image_id", "file_name", "caption", "filename", "split", "sentences"]
)
leaves = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["a", "train", "x.jpg"])
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))
json_texts = st.dictionaries(keys, values, max_size=4).map(lambda value: json.dumps(value).encode())


def read(tmp_path, content, format, name="source", **fields):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(Captions(path, format, Fields(**fields)))


def tuples(captions):
    return [(caption.image, caption.text, caption.split) for caption in captions]


def test_coco_joins_annotations_with_file_names(tmp_path):
    source = {
        "images": [{"id": 9, "file_name": "000009.jpg"}],
        "annotations": [{"id": 70, "image_id": 9, "caption": "A dog."}, {"id": 71, "image_id": 9, "caption": "A cat."}],
    }
    assert read(tmp_path, json.dumps(source), "coco") == [
        Caption("000009.jpg", "A dog.", None, "70"),
        Caption("000009.jpg", "A cat.", None, "71"),
    ]


def test_karpathys_restval_is_train_and_val_is_validation(tmp_path):
    images = [
        {"filename": f"{split}.jpg", "split": split, "sentences": [{"raw": "A dog.", "sentid": at}]}
        for at, split in enumerate(["train", "restval", "val", "test"])
    ]
    found = read(tmp_path, json.dumps({"images": images}), "karpathy")
    assert [caption.split for caption in found] == ["train", "train", "validation", "test"]
    assert found[1] == Caption("restval.jpg", "A dog.", "train", "1")


def test_a_flickr_token_file_names_the_picture_before_the_hash(tmp_path):
    found = read(tmp_path, "1.jpg#0\tA dog .\n1.jpg#1\tA #2 cat .\r\n", "flickr")
    assert found == [Caption("1.jpg", "A dog .", None, "1.jpg#0"), Caption("1.jpg", "A #2 cat .", None, "1.jpg#1")]


@pytest.mark.parametrize(
    "content",
    ['image,caption\n1.jpg,"A dog, a ""cat"""\n', 'image_name| comment_number| comment\n1.jpg| 0| A dog, a "cat"\n'],
)
def test_flickrs_csv_forms_are_read_too(tmp_path, content):
    assert tuples(read(tmp_path, content, "flickr")) == [("1.jpg", 'A dog, a "cat"', None)]


def test_conceptual_captions_have_the_text_first(tmp_path):
    found = read(tmp_path, 'a "red" dog\thttps://host/x.jpg?w=1\n', "tsv")
    assert found == [Caption("https://host/x.jpg?w=1", 'a "red" dog', None, "1")]


def test_a_tsv_with_a_header_is_read_by_its_names(tmp_path):
    assert tuples(read(tmp_path, "image\tcaption\tsplit\nx.jpg\ta dog\tdev\n", "tsv")) == [
        ("x.jpg", "a dog", "validation")
    ]


def test_columns_can_be_named(tmp_path):
    found = read(tmp_path, "Pic,Deutsch,caption\nx.jpg,ein Hund,a dog\n", "csv", text="Deutsch", image="Pic")
    assert tuples(found) == [("x.jpg", "ein Hund", None)]


def test_jsonl_takes_one_text_or_a_list(tmp_path):
    lines = [{"image": "x.jpg", "text": "a dog", "split": "test"}, {"id": 7, "captions": ["one", "two"], "split": None}]
    found = read(tmp_path, "\n".join(map(json.dumps, lines)), "jsonl")
    assert tuples(found) == [("x.jpg", "a dog", "test"), ("7", "one", "none"), ("7", "two", "none")]
    assert [caption.id for caption in found] == ["1.0", "2.0", "2.1"]


def test_a_text_may_hold_what_python_calls_a_line_break(tmp_path):
    found = read(tmp_path, json.dumps({"image": "x", "text": "a\u2028b\x85c"}, ensure_ascii=False) + "\n", "jsonl")
    assert found[0].text == "a\u2028b\x85c"


def test_gzip_and_a_byte_order_mark_are_read(tmp_path):
    packed = gzip.compress("\ufeffimage,text\nx.jpg,a dog\n".encode())
    assert tuples(read(tmp_path, packed, "csv", name="source.csv.gz")) == [("x.jpg", "a dog", None)]


def test_bytes_that_are_not_utf_8_come_as_lone_surrogates(tmp_path):
    assert read(tmp_path, b"1.jpg#0\tcaf\xe9\n", "flickr")[0].text == "caf\udce9"


def test_malformed_lines_are_counted_with_their_places(tmp_path):
    lines = ['{"image": "x", "text": "a dog"}'] * 300
    lines[4], lines[99] = "{", '{"image": "x"}'
    (tmp_path / "source").write_text("\n".join(lines))
    captions = Captions(tmp_path / "source", "jsonl")
    assert len(list(captions)) == 298
    assert (captions.malformed.seen, captions.malformed.count) == (300, 2)
    assert captions.malformed.examples[0].startswith("source, line 5: ")
    assert captions.malformed.examples[1].startswith("source, line 100: no text or caption or")


def test_more_than_one_in_a_hundred_malformed_lines_stop_and_are_shown(tmp_path):
    lines = ["1.jpg#0\ta dog"] * 98 + ["no number"] * 2
    with pytest.raises(InterbertError, match=r"2 of 100 entries.*\n  source, line 99: wanted IMAGE#NUMBER"):
        read(tmp_path, "\n".join(lines), "flickr")


def test_a_quote_that_does_not_close_is_counted_not_swallowed(tmp_path):
    rows = "".join(f"{n}.jpg,a dog\n" for n in range(200))
    (tmp_path / "source").write_text(f'image,caption\n{rows}x.jpg,"a dog\n')
    captions = Captions(tmp_path / "source", "csv")
    assert len(list(captions)) == 200
    assert captions.malformed.examples == ["source, line 202: unexpected end of data"]


def test_a_row_with_too_few_columns_is_malformed(tmp_path):
    with pytest.raises(InterbertError, match="line 2: got 1 columns, wanted 2: image, caption"):
        read(tmp_path, "image,caption\nx.jpg\n", "csv")


def test_a_caption_of_a_picture_that_is_not_listed_is_malformed(tmp_path):
    source = {"images": [], "annotations": [{"id": 1, "image_id": 5, "caption": "A dog."}]}
    with pytest.raises(InterbertError, match="annotation 0: image_id 5 is not among the images"):
        read(tmp_path, json.dumps(source), "coco")


def test_an_image_id_that_is_given_twice_is_malformed_and_the_first_stays(tmp_path):
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(200)] + [{"id": 5, "file_name": "other.jpg"}]
    source = {"images": images, "annotations": [{"id": 1, "image_id": 5, "caption": "A dog."}]}
    (tmp_path / "source").write_text(json.dumps(source))
    captions = Captions(tmp_path / "source", "coco")
    assert tuples(captions) == [("5.jpg", "A dog.", None)]
    assert captions.malformed.examples == ["source, image 200: id 5 is that of '5.jpg' already"]


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=60) | json_texts)
def test_whatever_a_file_holds_it_is_read_or_refused_with_a_sentence(tmp_path_factory, format, content):
    path = tmp_path_factory.getbasetemp() / "whatever"
    path.write_bytes(content)
    try:
        found = list(Captions(path, format))
    except InterbertError:
        return
    assert all(isinstance(value, str) for caption in found for value in (caption.image, caption.text, caption.id))


def test_a_split_with_an_unknown_name_is_malformed(tmp_path):
    with pytest.raises(InterbertError, match="split 'trian' is not one of train"):
        read(tmp_path, '{"image": "x", "text": "a dog", "split": "trian"}', "jsonl")


@pytest.mark.parametrize(
    ("format", "content", "wanted"),
    [
        ("coco", "[]", "no list 'images'; is this the right format"),
        ("coco", '{"images": [', "is not whole JSON"),
        ("karpathy", '{"images": [1]}', "no list 'images'"),
        ("csv", "x.jpg,a dog\n", "no first line that names its columns"),
        ("csv", "", "no first line that names its columns"),
    ],
)
def test_a_file_of_another_format_is_an_error_that_says_so(tmp_path, format, content, wanted):
    with pytest.raises(InterbertError, match=wanted):
        read(tmp_path, content, format)


def test_a_format_with_a_typo_gets_the_nearest_name(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'karpathy'"):
        Captions(tmp_path / "source", "karpaty")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="do not exist or are a folder"):
        Captions(tmp_path / "nothing.json", "coco")
    with pytest.raises(UsageError, match="do not exist or are a folder"):
        Captions(tmp_path, "coco")


@pytest.mark.shared_data
def test_real_coco_captions_are_all_read(shared):
    found = list(Captions(shared / "data/coco/official_format/captions.json", "coco"))
    assert len(found) == 1511
    assert len({caption.image for caption in found}) == 302
    assert {caption.split for caption in found} == {None}


@pytest.mark.shared_data
def test_real_flickr8k_captions_keep_their_splits(shared):
    found = list(Captions(shared / "data/flickr8k/captions.jsonl", "jsonl"))
    pictures = {caption.image: caption.split for caption in found}
    counts = {split: list(pictures.values()).count(split) for split in ("train", "validation", "test", "none")}
    assert len(found) == 5378 * 5
    assert counts == {"train": 3987, "validation": 684, "test": 646, "none": 61}


@pytest.mark.shared_data
def test_real_chinese_captions_are_read_by_the_name_of_their_field(shared):
    found = Captions(shared / "data/flickr8k/captions_zh.jsonl", "jsonl", Fields(text="captions_zh"))
    assert next(iter(found)).text == "两只狗在路上打架。"


def test_a_file_that_was_cut_while_it_was_fetched_says_so(tmp_path):
    path = tmp_path / "captions.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"image": "a.jpg", "text": "a dog"}\n' * 1000)[:-20])
    with pytest.raises(InterbertError, match="is no whole gzip file .*; fetch it again"):
        list(Captions(path, "jsonl"))


def test_semicolons_divide_a_csv_that_has_no_commas_in_its_first_line(tmp_path):
    (tmp_path / "source").write_text('image;caption\n1.jpg;"a dog, a cat; and a road"\n')
    (found,) = Captions(tmp_path / "source", "csv")
    assert (found.image, found.text) == ("1.jpg", "a dog, a cat; and a road")
