import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from corpus_helpers import EXTRACTOR, captions, make_corpus, make_store, some_regions, tiny_tokenizer

from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpora, Corpus
from interbert.errors import InterbertError, UsageError
from interbert.text.segmenting import Segmenter, SegmenterInfo

SOURCE = captions(("a", "a dog"), ("b", "a cat ."), ("a", "two dogs play")) + captions(("c", "the road"), split="test")


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "store", {"a": 3, "b": 2, "c": 4}, {"a": ("77", 1), "b": ("78", 2), "c": ("79", 4)})


@pytest.fixture
def corpus(tmp_path, store):
    return make_corpus(tmp_path / "corpus", store, SOURCE)


def test_the_texts_of_a_picture_are_neighbours(corpus):
    assert (len(corpus), corpus.images) == (4, 3)
    assert [corpus.text(text) for text in range(4)] == ["a dog", "two dogs play", "a cat .", "the road"]
    assert [corpus.image_of(text) for text in range(4)] == [0, 0, 1, 2] == corpus.images_of.tolist()
    assert [corpus.texts_of(image) for image in range(3)] == [range(0, 2), range(2, 3), range(3, 4)]
    assert [corpus.image_id(image) for image in range(3)] == ["a", "b", "c"]


def test_words_are_the_tokenizers(corpus):
    tokenizer = corpus.tokenizer()
    for text in range(len(corpus)):
        assert corpus.words(text).tolist() == tokenizer.encode(corpus.text(text))
        assert corpus.length(text) == len(corpus.words(text)) == corpus.lengths[text]
    assert corpus.words(0).dtype == np.int64


def test_equal_texts_have_equal_hashes_and_others_do_not(tmp_path, store):
    source = captions(("a", "a dog"), ("b", "a dog"), ("c", "dog a"), ("a", "a"), ("b", "a dog ."))
    hashes = make_corpus(tmp_path / "equal", store, source).text_hashes
    made = Corpus(tmp_path / "equal")
    texts = [made.text(text) for text in range(len(made))]
    assert [hashes[0] == hash for hash in hashes] == [text == texts[0] for text in texts]
    assert len(set(hashes.tolist())) == len(set(texts)) == 4


def test_splits_are_indices_of_texts(corpus):
    assert corpus.split("train").tolist() == [0, 1, 2]
    assert corpus.split("test").tolist() == [3]
    assert corpus.split("validation").tolist() == []
    with pytest.raises(UsageError, match="did you mean 'train'"):
        corpus.split("trian")


def test_regions_are_the_stores(corpus):
    assert corpus.regions(2).features.tolist() == some_regions(4).features.tolist()
    assert [corpus.region_count(image) for image in range(3)] == [3, 2, 4] == corpus.region_counts.tolist()
    assert corpus.extractor == EXTRACTOR


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_beyond_the_corpus_is_an_error(corpus, index):
    for read in (
        corpus.words,
        corpus.text,
        corpus.image_of,
        corpus.length,
        corpus.image_id,
        corpus.texts_of,
        corpus.regions,
    ):
        with pytest.raises(IndexError):
            read(index)


def test_a_corpus_can_be_pickled_for_workers(corpus):
    corpus.regions(0)
    again = pickle.loads(pickle.dumps(corpus))
    assert again.text(3) == "the road"
    assert len(again.regions(0)) == 3


def test_any_characters_in_ids_and_texts_come_back(tmp_path):
    store = make_store(tmp_path / "store", {"dir/ü 狗 🐶": 1})
    corpus = make_corpus(tmp_path / "corpus", store, captions(("dir/ü 狗 🐶.jpg", "a dog é 狗")), max_unknown_share=1.0)
    assert (corpus.image_id(0), corpus.text(0)) == ("dir/ü 狗 🐶", "a dog é 狗")


def test_opening_a_corpus_needs_no_torch(corpus):
    code = "import sys; from interbert.corpus.corpus import Corpus; Corpus(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, corpus.folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_file_that_was_cut_is_an_error_at_opening(corpus):
    path = corpus.folder / "tokens.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InterbertError, match=r"tokens\.bin': got 37 bytes, wanted 38; build the corpus again"):
        Corpus(corpus.folder)
    path.unlink()
    with pytest.raises(InterbertError, match=r"tokens\.bin' is missing"):
        Corpus(corpus.folder)


@pytest.mark.parametrize("name", ["tokens", "text_bytes", "split", "image_hash", "id_offsets"])
def test_a_flipped_bit_is_found_by_verify(corpus, name):
    corpus.verify()
    path = corpus.folder / f"{name}.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InterbertError, match=f"{name}.bin' is damaged"):
        Corpus(corpus.folder).verify()


def test_a_folder_that_is_no_corpus_is_an_error_that_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError, match="interbert corpus SOURCE"):
        Corpus(tmp_path)
    (tmp_path / "corpus.json").write_text("{")
    with pytest.raises(InterbertError, match=r"corpus\.json' is damaged"):
        Corpus(tmp_path)
    (tmp_path / "corpus.json").write_text('{"format": "interbert corpus", "version": 99}')
    with pytest.raises(InterbertError, match="update interbert"):
        Corpus(tmp_path)


def test_a_corpus_and_its_store_can_move_together(tmp_path, corpus):
    (tmp_path / "new").mkdir()
    for name in ("corpus", "store"):
        shutil.move(tmp_path / name, tmp_path / "new" / name)
    assert len(Corpus(tmp_path / "new" / "corpus").regions(0)) == 3


def test_a_store_that_was_moved_is_an_error_that_says_how_to_name_its_new_place(tmp_path, corpus):
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(InterbertError, match="If the store was moved, open the corpus with Corpus"):
        Corpus(corpus.folder).regions(0)
    assert len(Corpus(corpus.folder, regions=tmp_path / "elsewhere").regions(0)) == 3


def test_a_store_of_another_extractor_is_refused(tmp_path, corpus):
    make_store(tmp_path / "other", {"a": 3}, extractor=replace(EXTRACTOR, name="bottom-up"))
    with pytest.raises(InterbertError, match="another extractor.*name 'toy' and 'bottom-up'"):
        Corpus(corpus.folder, regions=tmp_path / "other").regions(0)


def test_a_store_with_fewer_regions_than_the_corpus_was_built_with_is_refused(tmp_path, corpus):
    make_store(tmp_path / "other", {"a": 2})
    with pytest.raises(InterbertError, match="'a' has 2 regions.*was built with 3"):
        Corpus(corpus.folder, regions=tmp_path / "other").regions(0)


def test_a_model_of_another_extractor_or_vocabulary_is_refused_with_both_named(corpus):
    corpus.require("run 'r'", EXTRACTOR, corpus.tokenizer())
    with pytest.raises(InterbertError, match=r"extractor 'toy' \(4 numbers each\); run 'r' has 'bottom-up' \(2048\)"):
        corpus.require("run 'r'", replace(EXTRACTOR, name="bottom-up", feature_size=2048))
    with pytest.raises(InterbertError, match=r"another vocabulary \(17 pieces\) than that of run 'r' \(6 pieces\)"):
        corpus.require("run 'r'", tokenizer=tiny_tokenizer(["a"]))


def test_the_digest_is_that_of_the_contents(tmp_path, store, corpus):
    assert make_corpus(tmp_path / "again", store, SOURCE).digest == corpus.digest
    assert make_corpus(tmp_path / "less", store, SOURCE[1:]).digest != corpus.digest


def test_several_corpora_read_like_one(tmp_path, store, corpus):
    more = make_store(tmp_path / "more", {"x": 5, "x@mirrored": 6})
    second = make_corpus(tmp_path / "second", more, captions(("x", "the red cat"), ("x", "a road")))
    both = Corpora([corpus, tmp_path / "second"])
    assert (len(both), both.images) == (6, 4)
    assert [both.text(text) for text in (3, 4, 5)] == ["the road", "the red cat", "a road"]
    assert both.words(4).tolist() == second.words(0).tolist()
    assert [both.image_of(text) for text in range(6)] == [0, 0, 1, 2, 3, 3] == both.images_of.tolist()
    assert both.lengths.tolist() == [both.length(text) for text in range(6)]
    assert both.texts_of(3) == range(4, 6)
    assert (both.image_id(3), both.views(3), both.region_count(3), len(both.regions(3, 1))) == ("x", 2, 5, 6)
    assert both.split("train").tolist() == [0, 1, 2, 4, 5]
    assert both.split("test").tolist() == [3]
    assert both.digest not in (corpus.digest, second.digest)
    assert pickle.loads(pickle.dumps(both)).text(5) == "a road"
    with pytest.raises(IndexError):
        both.text(6)


def test_a_picture_held_out_by_one_corpus_is_not_trained_on_through_another(tmp_path, corpus):
    more = make_store(tmp_path / "more", {"c again": 1, "new": 1}, {"c again": ("79", 4), "new": ("80", 5)})
    make_corpus(tmp_path / "second", more, captions(("c again", "a road"), ("new", "a cat")))
    both = Corpora([corpus.folder, tmp_path / "second"])
    assert [both.image_id(int(image)) for image in both.held_out_elsewhere] == ["c again"]
    assert "a road" not in [both.text(int(text)) for text in both.split("train")]


def test_corpora_of_different_extractors_or_vocabularies_do_not_mix(tmp_path, store, corpus):
    other = make_store(tmp_path / "other", {"a": 3}, extractor=replace(EXTRACTOR, settings={"min_confidence": 0.1}))
    make_corpus(tmp_path / "second", other, captions(("a", "a dog")))
    with pytest.raises(InterbertError, match="settings {'min_confidence': 0.1} and {}"):
        Corpora([corpus, tmp_path / "second"])
    build_corpus(
        SOURCE, store, tiny_tokenizer(["a", "dog"]), tmp_path / "3", BuildOptions(min_regions=1, max_unknown_share=1)
    )
    with pytest.raises(InterbertError, match="were cut with different vocabularies"):
        Corpora([corpus, tmp_path / "3"])
    with pytest.raises(UsageError, match="got none"):
        Corpora([])


@pytest.mark.shared_data
def test_real_captions_become_a_corpus(shared, tmp_path):
    from interbert.corpus.readers import Captions

    source = list(Captions(shared / "data/flickr8k/captions.jsonl", "jsonl"))[:1000]
    ids = dict.fromkeys(caption.image.split("/")[1].removesuffix(".jpg") for caption in source)
    store = make_store(tmp_path / "store", dict.fromkeys(ids, 1))
    corpus = make_corpus(tmp_path / "corpus", store, source, max_unknown_share=1.0)
    splits = [set(corpus.images_of[corpus.split(name)].tolist()) for name in ("train", "validation", "test")]
    assert sum(map(len, splits)) == len(set.union(*splits)) == corpus.images


PAIRS = Segmenter(SegmenterInfo("pairs", "7"), re.compile(r"\S+(?: \S+)?|\s+").findall)  # two words are one


def test_a_segmented_corpus_knows_which_tokens_go_on(tmp_path, store, corpus):
    source = captions(("a", "a dog play on"), ("b", "cat"))
    build_corpus(
        source, store, tiny_tokenizer(), tmp_path / "pairs", BuildOptions(min_regions=1, max_tokens=5), segmenter=PAIRS
    )
    pairs = Corpus(tmp_path / "pairs")
    assert pairs.continues(0).tolist() == [False, False, True, False, False]  # [CLS] a dog play [SEP]
    assert pairs.continues(1).tolist() == [False, False, False]
    assert pairs.description["version"] == 2
    assert pairs.description["segmenter"] == {
        "name": "pairs", "version": "7", "user_words": 0, "user_words_sha256": "",
    }  # fmt: skip
    assert "- words: of pairs 7" in (tmp_path / "pairs" / "README.md").read_text()
    pairs.verify()
    both = Corpora([corpus, pairs])
    assert both.continues(0) is None
    assert both.continues(len(corpus)).tolist() == pairs.continues(0).tolist()


def test_a_corpus_without_segmented_words_stays_in_format_1(corpus):
    assert corpus.description["version"] == 1
    assert corpus.description["segmenter"] is None
    assert corpus.continues(0) is None
