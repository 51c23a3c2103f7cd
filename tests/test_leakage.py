import numpy as np
from corpus_helpers import captions, make_corpus, make_store
from hypothesis import given
from hypothesis import strategies as st

from interbert.corpus.leakage import (
    file_hash,
    held_out_together,
    look_alike,
    near_earlier,
    share_of,
    split_of,
)
from interbert.vision.provenance import ImageInfo


def test_the_share_of_an_id_never_changes():
    assert round(share_of("dogs"), 6) == 0.480310  # blake2b of the id, 7 bytes; written down once


def test_shares_are_spread_evenly():
    shares = np.array([share_of(f"picture-{n}") for n in range(5000)])
    assert abs(np.histogram(shares, 10, (0, 1))[0] / 5000 - 0.1).max() < 0.02


def test_a_picture_stays_out_of_training_when_only_the_test_share_of_others_grows():
    ids = [f"{n}" for n in range(500)]
    before = [split_of(id, 0.1, 0.1) for id in ids]
    assert [split_of(id, 0.1, 0.1) for id in [*ids, "a new one"]][:500] == before
    assert 20 < before.count(2) < 80
    assert 20 < before.count(1) < 80


def test_equal_pictures_go_to_the_most_held_out_of_their_splits():
    splits = np.array([0, 1, 0, 2, 0, 255], np.uint8)
    hashes = np.array([7, 7, 8, 8, 0, 8])
    assert held_out_together(splits, hashes).tolist() == [1, 1, 2, 2, 0, 255]


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=20),
    st.lists(st.integers(0, 2**64 - 1), max_size=20),
    st.integers(0, 64),
)
def test_looking_alike_is_a_distance_in_bits(hashes, others, distance):
    wanted = [any((one ^ other).bit_count() <= distance for other in others) for one in hashes]
    assert look_alike(np.array(hashes, np.uint64), np.array(others, np.uint64), distance).tolist() == wanted


def test_a_file_that_is_not_known_equals_no_other():
    assert file_hash(None) == 0
    assert file_hash(ImageInfo("a.jpg", "", 5)) == 0
    assert file_hash(ImageInfo("a.jpg", "0" * 64, 5)) == 1
    assert file_hash(ImageInfo("a.jpg", "f" * 64, 5)) == 2**63 - 1


def test_the_same_file_under_two_ids_is_never_in_two_splits(tmp_path):
    store = make_store(tmp_path / "store", {"a": 3, "b": 3, "c": 3}, {"a": ("77", 1), "b": ("77", 1), "c": ("78", 9)})
    source = captions(("a", "a dog")) + captions(("b", "a cat"), split="test") + captions(("c", "a dog"))
    corpus = make_corpus(tmp_path / "corpus", store, source)
    assert [corpus.text(text) for text in corpus.split("test")] == ["a dog", "a cat"]
    assert [corpus.image_id(corpus.image_of(text)) for text in corpus.split("train")] == ["c"]


def test_pictures_of_a_test_set_are_left_out_by_file_and_by_looks(tmp_path):
    files = {"same": ("77", 0), "alike": ("79", 0b111), "other": ("78", 2**40 - 1)}
    store = make_store(tmp_path / "store", dict.fromkeys(files, 3), files)
    make_store(tmp_path / "test", {"x": 3}, {"x": ("77", 0b000)})
    source = captions(*((name, "a dog") for name in files))
    place = str(tmp_path / "test")
    corpus = make_corpus(tmp_path / "corpus", store, source, leave_out_stores=(place,))
    assert [corpus.image_id(image) for image in range(corpus.images)] == ["other"]
    assert corpus.description["report"]["dropped"] == {
        f"its picture is a file of store '{place}'": 1,
        f"its picture looks like one of store '{place}'": 1,
    }
    by_file = make_corpus(tmp_path / "2", store, source, leave_out_stores=(place,), leave_out_distance=None)
    assert by_file.images == 2


def test_held_out_pictures_of_another_corpus_are_left_out_and_its_training_pictures_are_not(tmp_path):
    files = {"a": ("77", 0), "b": ("78", 2**40 - 1)}
    first = make_store(tmp_path / "s1", dict.fromkeys(files, 3), files)
    make_corpus(tmp_path / "first", first, captions(("a", "a dog"), split="test") + captions(("b", "a cat")))
    second = make_store(tmp_path / "s2", {"x": 3, "y": 3}, {"x": files["a"], "y": files["b"]})
    source = captions(("x", "a dog"), ("y", "a cat"))
    corpus = make_corpus(tmp_path / "second", second, source, leave_out_corpora=(str(tmp_path / "first"),))
    assert [corpus.image_id(image) for image in range(corpus.images)] == ["y"]


@given(st.lists(st.integers(0, 255), max_size=20), st.integers(1, 5), st.integers(0, 56))
def test_hashes_near_an_earlier_one_are_those_that_comparing_all_finds(numbers, distance, shift):
    hashes = np.array([number << shift for number in numbers], np.uint64)
    near = [
        at for at, one in enumerate(hashes.tolist())
        if one and any(other and (one ^ other).bit_count() <= distance for other in hashes[:at].tolist())
    ]  # fmt: skip
    assert near_earlier(hashes, distance).tolist() == near


def test_a_pattern_leaves_out_all_ids_that_it_fits(tmp_path):
    store = make_store(tmp_path / "store", dict.fromkeys(("COCO_val2014_1", "COCO_val2014_2", "COCO_train2014_1"), 2))
    source = captions(*((id, "a dog") for id in store))
    corpus = make_corpus(tmp_path / "c", store, source, leave_out_ids=("*val2014*", "*2017*"))
    assert [corpus.image_id(at) for at in range(corpus.images)] == ["COCO_train2014_1"]
    assert corpus.description["report"]["notes"]["ids to leave out that the store does not have"] == 1
