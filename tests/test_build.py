import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from corpus_helpers import EXTRACTOR, captions, make_corpus, make_store, some_regions, tiny_tokenizer

from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpus
from interbert.corpus.readers import Caption, Captions
from interbert.errors import InterbertError, UsageError
from interbert.vision.provenance import ImageInfo
from interbert.vision.store import RegionStore

FEW = BuildOptions(min_regions=1)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "store", {"a": 12, "folder/b": 12, "c.d": 3, "e/f": 12, "g/f": 12})


def kept(corpus):
    return [(corpus.image_id(corpus.image_of(text)), corpus.text(text)) for text in range(len(corpus))]


def test_a_picture_is_found_by_id_by_file_name_and_by_the_last_part_of_its_id(tmp_path, store):
    names = ["a", "a.jpg", "x/y/a.jpg", "http://host/a.png"]
    names += ["folder/b.jpg", "b.jpg", "c.d", "c.d.jpeg", "e/f.jpg"]
    source = [Caption(name, "a " * at + "dog", "train", name) for at, name in enumerate(names)]
    corpus = make_corpus(tmp_path / "corpus", store, source)
    assert [id for id, _ in kept(corpus)] == ["a"] * 4 + ["folder/b"] * 2 + ["c.d"] * 2 + ["e/f"]


def test_a_picture_of_another_folder_is_not_that_of_the_same_name(tmp_path):
    store = make_store(tmp_path / "store", {"bags/1": 2, "dress": 2}, {"bags/1": ("aa", 1)})
    names = ("shoes/1.jpg", "dress.1", "bags/1.jpg", "shop/bags/1.jpg", "1.jpg", "dress.jpg")
    source = captions(*((name, "a dog " * at) for at, name in enumerate(names, 1)))
    corpus = make_corpus(tmp_path / "corpus", store, source)
    assert [id for id, _ in kept(corpus)] == ["bags/1"] * 3 + ["dress"]
    assert corpus.description["report"]["dropped"] == {"its picture is not in the region store": 2}


def test_captions_without_a_picture_and_pictures_without_a_caption_are_counted(tmp_path, store):
    report = build_corpus(
        captions(("a", "a dog"), ("z.jpg", "a cat"), ("f.jpg", "a road")), store, tiny_tokenizer(), tmp_path / "c", FEW
    )
    assert report.dropped == {
        "its picture is not in the region store": 1,
        "its picture's name fits several pictures of the region store": 1,
    }
    assert report.examples["its picture is not in the region store"] == ["z.jpg: a cat"]
    assert report.unused == {"no caption names it": 4}


def test_texts_of_36_words_are_dropped_and_of_35_kept(tmp_path, store):
    source = captions(("a", "dog " * 35), ("a", "cat " * 36))
    corpus = make_corpus(tmp_path / "corpus", store, source)
    assert kept(corpus) == [("a", " ".join(["dog"] * 35))]
    assert corpus.description["report"]["dropped"] == {"it has 36 words or more": 1}


def test_a_long_text_is_cut_to_the_most_tokens_and_counted(tmp_path, store):
    corpus = make_corpus(tmp_path / "corpus", store, captions(("a", "a red dog on the road")), max_tokens=5)
    assert corpus.words(0).tolist() == [2, 5, 11, 6, 3]
    assert corpus.text(0) == "a red dog on the road"
    assert corpus.description["report"]["notes"] == {"texts cut to 5 tokens": 1}


def test_pictures_of_few_regions_are_left_out_and_of_many_give_their_best(tmp_path):
    store = make_store(tmp_path / "store", {"few": 9, "some": 10, "many": 50})
    corpus = make_corpus(tmp_path / "c", store, captions(("few", "a"), ("some", "a"), ("many", "a")), min_regions=10)
    assert [(corpus.image_id(image), corpus.region_count(image)) for image in range(2)] == [("some", 10), ("many", 36)]
    assert corpus.regions(1).features[:, 0].tolist() == list(range(36))
    assert corpus.description["report"]["dropped"] == {"its picture has fewer than 10 regions": 1}
    assert corpus.description["report"]["unused"] == {"has fewer than 10 regions": 1}


def test_the_same_text_of_the_same_picture_is_kept_once(tmp_path, store):
    source = captions(("a", "a dog"), ("b", "a dog"), ("a", " a  dog\n"), ("a", "A dog"))
    corpus = make_corpus(tmp_path / "corpus", store, source)
    assert kept(corpus) == [("a", "a dog"), ("a", "A dog"), ("folder/b", "a dog")]
    assert corpus.description["report"]["dropped"] == {"it says the same of the same picture again": 1}


def test_captions_that_share_an_id_are_kept_and_counted(tmp_path, store):
    source = [Caption("a", "a dog", "train", "1"), Caption("a", "a cat", "train", "1")]
    corpus = make_corpus(tmp_path / "corpus", store, source)
    assert len(corpus) == 2
    assert corpus.description["report"]["notes"] == {"captions whose id was given to another before": 1}


def test_texts_with_nothing_to_read_are_dropped(tmp_path, store):
    corpus = make_corpus(tmp_path / "corpus", store, captions(("a", " \n"), ("a", "\u200b"), ("b", "a dog")))
    assert kept(corpus) == [("folder/b", "a dog")]
    assert corpus.description["report"]["dropped"] == {"it has no text": 1, "the vocabulary has nothing for it": 1}


def test_unreadable_characters_are_replaced_and_counted(tmp_path, store):
    corpus = make_corpus(tmp_path / "corpus", store, captions(("a", "a dog \udce9")))
    assert corpus.text(0) == "a dog \ufffd"
    assert corpus.description["report"]["notes"] == {"texts with characters that were not readable, now U+FFFD": 1}


def test_pictures_in_no_split_are_used_only_when_asked(tmp_path, store):
    source = captions(("a", "a dog"), split="test") + captions(("b", "a cat"), split="none")
    assert kept(make_corpus(tmp_path / "1", store, source)) == [("a", "a dog")]
    corpus = make_corpus(tmp_path / "2", store, source, use_unsplit=True)
    assert [len(corpus.split(name)) for name in ("train", "validation", "test")] == [1, 0, 1]


def test_a_picture_that_its_source_puts_into_two_splits_is_held_out(tmp_path, store):
    source = captions(("a", "a dog"), split="test") + captions(("a", "a cat"), split="train")
    corpus = make_corpus(tmp_path / "corpus", store, source)
    assert corpus.split("test").tolist() == [0, 1]
    assert corpus.description["report"]["notes"]["captions of a picture that the source puts into two splits"] == 1


def test_without_splits_a_share_of_the_pictures_is_held_out_and_stays_so_when_the_source_grows(tmp_path):
    store = make_store(tmp_path / "store", {f"{n}": 1 for n in range(200)})
    source = captions(*((f"{n}", text) for n in range(200) for text in ("a dog", "a cat")), split=None)
    held_out = []
    for size in (200, 400):
        corpus = make_corpus(tmp_path / f"{size}", store, source[:size], validation_share=0.2, test_share=0.1)
        held_out.append({corpus.image_id(corpus.image_of(int(text))) for text in corpus.split("validation")})
        assert len(corpus.split("validation")) == 2 * len(held_out[-1])
    assert held_out[0] == {id for id in held_out[1] if int(id) < 100}
    assert 20 <= len(held_out[1]) <= 60


def test_all_captions_can_be_put_into_one_split(tmp_path, store):
    corpus = make_corpus(tmp_path / "corpus", store, captions(("a", "a dog"), split=None), split="validation")
    assert corpus.split("validation").tolist() == [0]


def test_listed_pictures_are_left_out(tmp_path, store):
    source = captions(("a", "a dog"), ("b", "a cat"))
    corpus = make_corpus(tmp_path / "corpus", store, source, leave_out_ids=("b.jpg", "unknown"))
    assert kept(corpus) == [("a", "a dog")]
    assert corpus.description["report"]["dropped"] == {"its picture is on the list to leave out": 1}
    assert corpus.description["report"]["notes"] == {"ids to leave out that the store does not have": 1}


def test_malformed_lines_of_the_source_are_in_the_report(tmp_path, store):
    (tmp_path / "source").write_text("a.jpg#0\ta dog\n" * 150 + "broken\n")
    report = build_corpus(Captions(tmp_path / "source", "flickr"), store, tiny_tokenizer(), tmp_path / "corpus", FEW)
    assert report.dropped["it cannot be read"] == 1
    assert report.captions["read"] == 151 == report.captions["kept"] + sum(report.dropped.values())
    assert report.malformed == ["source, line 151: wanted IMAGE#NUMBER, TAB, text"]


def test_every_caption_that_was_read_is_kept_or_counted(tmp_path, store):
    source = captions(
        ("a", "a dog"), ("a", "a dog"), ("z", "a"), ("c.d", "cat"), ("f", "x"), ("b", ""), ("b", "a " * 40)
    )
    report = build_corpus(source, store, tiny_tokenizer(), tmp_path / "corpus", FEW)
    assert report.captions["read"] == 7 == report.captions["kept"] + sum(report.dropped.values())
    assert report.pictures["in the store"] == 5 == report.pictures["kept"] + sum(report.unused.values())


def test_nothing_left_is_an_error_that_says_why_and_leaves_no_folder(tmp_path, store):
    with pytest.raises(InterbertError, match=r"nothing is left(.|\n)*1  its picture is not in the region store"):
        build_corpus(captions(("z", "a dog")), store, tiny_tokenizer(), tmp_path / "corpus", FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_vocabulary_of_another_language_is_an_error(tmp_path, store):
    with pytest.raises(InterbertError, match="does not know 75% of the texts' pieces"):
        build_corpus(captions(("a", "ein Hund spielt .")), store, tiny_tokenizer(), tmp_path / "corpus", FEW)


def test_an_existing_corpus_is_replaced_only_when_asked(tmp_path, store):
    make_corpus(tmp_path / "corpus", store, captions(("a", "a dog")))
    again = captions(("a", "a cat"))
    with pytest.raises(UsageError, match="a corpus is there already"):
        build_corpus(again, store, tiny_tokenizer(), tmp_path / "corpus", FEW)
    build_corpus(again, store, tiny_tokenizer(), tmp_path / "corpus", FEW, replace=True)
    assert Corpus(tmp_path / "corpus").text(0) == "a cat"
    with pytest.raises(UsageError, match="something else is there already"):
        build_corpus(again, store, tiny_tokenizer(), tmp_path / "store", FEW, replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "store"]


def test_an_error_in_the_middle_leaves_the_older_corpus(tmp_path, store):
    make_corpus(tmp_path / "corpus", store, captions(("a", "a dog")))

    def breaking():
        yield from captions(("a", "a cat"))
        raise OSError(28, "No space left on device")

    with pytest.raises(InterbertError, match="No space left on device. What was there is as it was"):
        build_corpus(breaking(), store, tiny_tokenizer(), tmp_path / "corpus", FEW, replace=True)
    assert Corpus(tmp_path / "corpus").text(0) == "a dog"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "store"]


def test_a_build_that_was_killed_leaves_nothing_that_looks_like_a_corpus_and_the_next_cleans_up(tmp_path, store):
    code = """
        import os, signal, sys
        from pathlib import Path
        from corpus_helpers import *
        def killing():
            yield from captions(("a", "a dog"))
            os.kill(os.getpid(), signal.SIGKILL)
        make_corpus(Path(sys.argv[1]) / "corpus", RegionStore(Path(sys.argv[1]) / "store"), killing())
    """
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path], env={**os.environ, "PYTHONPATH": here}
    )
    assert done.returncode == -9
    assert not (tmp_path / "corpus").exists()
    make_corpus(tmp_path / "corpus", store, captions(("a", "a dog")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "store"]


def test_a_corpus_that_was_about_to_be_replaced_comes_back(tmp_path, store):
    make_corpus(tmp_path / "corpus", store, captions(("a", "a dog")))
    (tmp_path / "corpus").rename(tmp_path / ".corpus.999999999.older")  # killed between two renames
    with pytest.raises(UsageError, match="a corpus is there already"):
        make_corpus(tmp_path / "corpus", store, captions(("a", "a cat")))
    assert Corpus(tmp_path / "corpus").text(0) == "a dog"


def test_a_mirrored_record_is_a_view_and_no_picture(tmp_path):
    store = make_store(tmp_path / "store", {"a": 3, "a@mirrored": 4, "b": 2, "odd@mirrored": 1})
    report = build_corpus(captions(("a", "a dog"), ("b", "a cat")), store, tiny_tokenizer(), tmp_path / "c", FEW)
    assert report.pictures == {"in the store": 3, "kept": 2}
    corpus = Corpus(tmp_path / "c")
    assert (corpus.views(0), corpus.views(1)) == (2, 1)
    assert (len(corpus.regions(0)), len(corpus.regions(0, view=1))) == (3, 4) == (3, corpus.region_count(0, 1))
    with pytest.raises(UsageError, match="view 1 of image 'b': it has 1"):
        corpus.regions(1, view=1)


def test_the_folder_says_what_it_is(tmp_path, store):
    corpus = make_corpus(tmp_path / "corpus", store, captions(("a", "a dog")), language="zh")
    readme = (tmp_path / "corpus" / "README.md").read_text()
    assert "extractor of the regions: toy, 4 numbers a region" in readme
    assert "- language: zh" in readme
    assert corpus.description["options"]["language"] == "zh"
    assert json.loads((tmp_path / "corpus" / "corpus.json").read_text())["regions"] == "../store"


@pytest.mark.parametrize(
    "wrong",
    [
        {"validation_share": 0.6, "test_share": 0.5},
        {"validation_share": -0.1},
        {"min_regions": 40},
        {"min_regions": 0},
        {"max_words": 1},
        {"max_tokens": 2},
        {"split": "dev"},
    ],
)
def test_options_that_make_no_sense_are_errors(wrong):
    with pytest.raises(UsageError):
        BuildOptions(**wrong)


def test_only_regions_of_more_confidence_count(tmp_path):
    with RegionStore.writer(tmp_path / "store", EXTRACTOR) as writer:
        for id, confidence in {"a": [0.9, 0.11, 0.1], "b": [0.1, 0.05], "a@mirrored": [0.5, 0.1]}.items():
            regions = some_regions(len(confidence))
            writer.append(id, replace(regions, confidence=np.array(confidence, np.float32)))
    source = captions(("a", "a dog"), ("b", "a cat"))
    corpus = make_corpus(tmp_path / "corpus", RegionStore(tmp_path / "store"), source, min_confidence=0.1)
    assert [corpus.region_count(0), corpus.region_count(0, 1), corpus.images] == [2, 1, 1]
    assert corpus.description["report"]["dropped"] == {
        "its picture has fewer than 1 regions of a confidence over 0.1": 1
    }


def test_of_pictures_with_one_file_or_look_the_first_is_used_where_it_is_asked_for(tmp_path):
    files = {"a": ("aa", 5), "b": ("aa", 6), "c": ("cc", 5), "d": ("dd", 7)}
    store = make_store(tmp_path / "store", dict.fromkeys(files, 2), files)
    source = captions(*((id, "a dog") for id in files))
    assert make_corpus(tmp_path / "all", store, source).images == 4
    corpus = make_corpus(tmp_path / "unique", store, source, unique_pictures=True)
    assert [corpus.image_id(at) for at in range(corpus.images)] == ["a", "d"]


def test_pictures_that_were_saved_again_are_the_same_where_some_bits_may_differ(tmp_path):
    files = {"a": ("aa", 0b1111), "b": ("bb", 0b1101), "c": ("cc", 0b1111 << 40)}
    store = make_store(tmp_path / "store", dict.fromkeys(files, 2), files)
    source = captions(*((id, "a dog") for id in files))
    corpus = make_corpus(tmp_path / "unique", store, source, unique_pictures=True, unique_distance=4)
    assert [corpus.image_id(at) for at in range(corpus.images)] == ["a", "c"]
    with pytest.raises(UsageError, match="unique_distance: got 4, wanted 0 to 31, with unique_pictures=true"):
        BuildOptions(unique_distance=4)


def test_a_file_name_means_the_file_where_the_store_knows_it(tmp_path):
    with RegionStore.writer(tmp_path / "store", EXTRACTOR) as writer:  # ids of products, not of files
        writer.append("2", some_regions(2), ImageInfo("shop/9.jpg", "a" * 64, 1))
        writer.append("7", some_regions(2), ImageInfo("shop/2.jpg", "b" * 64, 2))
    store = RegionStore(tmp_path / "store")
    source = captions(("img/2.jpg", "a dog"), ("9.png", "a cat"), ("7.jpg", "a road"), ("7", "red"))
    assert kept(make_corpus(tmp_path / "corpus", store, source)) == [("2", "a cat"), ("7", "a dog"), ("7", "red")]


def test_a_corpus_written_through_a_link_finds_its_regions(tmp_path, store):
    (tmp_path / "disk" / "far").mkdir(parents=True)
    (tmp_path / "big").symlink_to(tmp_path / "disk" / "far")
    corpus = make_corpus(tmp_path / "big" / "corpus", store, captions(("a", "a dog")))
    assert len(corpus.store) == 5


def test_names_that_no_file_can_hold_are_shown_readable(tmp_path, store):
    corpus = make_corpus(tmp_path / "corpus", store, captions(("a", "a dog"), ("caf\udce9.jpg", "a dog")))
    examples = corpus.description["report"]["examples"]
    assert examples["its picture is not in the region store"] == ["caf\ufffd.jpg: a dog"]
