import json
import pickle
import subprocess
import sys

import pytest
from corpus_helpers import WORDS, tiny_tokenizer

from interbert.errors import InterbertError, UsageError
from interbert.text.encoding import readable
from interbert.text.tokenizer import SPECIAL, Tokenizer


def vocab_txt(folder, words=WORDS, name="vocab.txt"):
    path = folder / name
    path.write_text("\n".join([*SPECIAL, *words]) + "\n", encoding="utf-8")
    return path


def test_a_text_becomes_cls_pieces_sep():
    tokenizer = tiny_tokenizer()
    assert tokenizer.tokens(tokenizer.encode("Two dogs PLAYING .")) == [
        *("[CLS]", "two", "dog", "##s", "play", "##ing", ".", "[SEP]")
    ]
    assert tokenizer.encode("a dog") == [2, 5, 6, 3]


def test_a_text_that_is_too_long_keeps_its_end_mark():
    assert tiny_tokenizer().encode("a dog on the road", max_tokens=4) == [2, 5, 6, 3]


def test_many_texts_get_the_ids_that_each_gets_alone():
    texts = ["a dog", "", "the red cat .", "zebra"]
    tokenizer = tiny_tokenizer()
    assert tokenizer.encode_many(texts, 8) == [tokenizer.encode(text, 8) for text in texts]


def test_pieces_stand_at_the_characters_of_the_text():
    tokenizer, text = tiny_tokenizer(), "Caf\u00e9s: two DOGS"
    ids, places = tokenizer.encode_places(text)
    assert ids == tokenizer.encode(text)
    assert [text[begin:end] for begin, end in places[-4:]] == ["two", "DOG", "S", ""]
    assert places[0] == places[-1] == (0, 0)
    cut = tokenizer.encode_places(text, max_tokens=3)
    assert cut == ([*ids[:2], tokenizer.sep_id], [*places[:2], (0, 0)])


def test_a_special_piece_written_in_a_text_is_only_text():
    tokenizer = tiny_tokenizer()
    assert tokenizer.mask_id not in tokenizer.encode("a [MASK] dog")[1:-1]
    assert tokenizer.sep_id not in tokenizer.encode("a [SEP] dog")[1:-1]


def test_every_chinese_character_is_a_word():
    tokenizer = tiny_tokenizer((*WORDS, "两", "狗"))
    assert tokenizer.tokens(tokenizer.encode("两狗a")) == ["[CLS]", "两", "狗", "a", "[SEP]"]


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert readable("a\udce9b") == "a\ufffdb"
    assert readable("\ud83d\udc36") == "\U0001f436"
    assert tiny_tokenizer().encode("a\udce9 dog") == [2, 5, 6, 3]  # BERT removes U+FFFD


def test_ids_of_special_pieces_and_sizes_are_those_of_the_vocabulary():
    tokenizer = tiny_tokenizer()
    assert (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert tokenizer.special_ids == {0, 1, 2, 3, 4}
    assert tokenizer.vocabulary_size == 5 + len(WORDS)
    assert [at for at, goes_on in enumerate(tokenizer.is_continuation) if goes_on] == [9, 10]


def test_a_saved_tokenizer_gives_the_same_ids(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.save(tmp_path / "tokenizer.json")
    for again in (Tokenizer.load(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert again.digest == tokenizer.digest
        assert again.encode("Two [MASK] dogs") == tokenizer.encode("Two [MASK] dogs")


def test_the_digest_changes_with_the_vocabulary_and_with_lower_casing():
    tokenizer = tiny_tokenizer()
    other = Tokenizer({piece: at for at, piece in enumerate([*SPECIAL, *WORDS])}, lower_case=False)
    assert len({tokenizer.digest, other.digest, tiny_tokenizer((*WORDS, "bird")).digest}) == 3


def test_a_vocabulary_without_capitals_is_lower_cased(tmp_path):
    assert Tokenizer.load(vocab_txt(tmp_path)).lower_case
    assert not Tokenizer.load(vocab_txt(tmp_path, (*WORDS, "Paris"))).lower_case


def test_the_configuration_beside_a_vocabulary_decides_about_lower_casing(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not Tokenizer.load(vocab_txt(tmp_path)).lower_case


def test_padding_and_truncation_of_a_saved_tokenizer_are_off(tmp_path):
    tiny_tokenizer().save(tmp_path / "tokenizer.json")
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    saved["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(saved))
    assert Tokenizer.load(tmp_path).encode("a dog on the road") == [2, 5, 6, 13, 14, 15, 3]


@pytest.mark.parametrize("words", [["a", "dog"], []])
def test_a_vocabulary_without_special_pieces_is_an_error_that_names_them(tmp_path, words):
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(InterbertError, match=r"without \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"):
        Tokenizer.load(tmp_path)


def test_a_missing_vocabulary_is_an_error_that_says_what_to_give(tmp_path):
    with pytest.raises(UsageError, match=r"does not exist; give a vocab\.txt"):
        Tokenizer.load(tmp_path / "nothing")
    with pytest.raises(UsageError, match=r"has no tokenizer\.json and no vocab\.txt"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {"type": "BPE"}}', '{"model": null}'])
def test_a_tokenizer_of_another_kind_is_an_error(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InterbertError, match="is not a BERT vocabulary"):
        Tokenizer.load(tmp_path)


def test_an_id_that_does_not_exist_is_an_error():
    with pytest.raises(UsageError, match="got id 99"):
        tiny_tokenizer().tokens([5, 99])


def test_importing_the_module_starts_no_threads():
    code = "import interbert.text.tokenizer, os; print(len(os.listdir('/proc/self/task')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_pieces_know_which_go_on_with_a_segmented_word():
    tokenizer = tiny_tokenizer(("雪", "纺", "裙", "24", "##k", "金", "sk", "-", "ii"))
    found = tokenizer.encode_words(["雪纺裙24K金", "SK-II 裙"], [["雪纺", "裙", "24", "K", "金"], ["SK-II", " ", "裙"]])
    ids, goes_on = found[0]
    assert tokenizer.tokens(ids) == ["[CLS]", "雪", "纺", "裙", "24", "##k", "金", "[SEP]"]
    assert goes_on == [False, False, True, False, False, True, False, False]  # a word that begins inside "24K" does not
    assert found[1] == (tokenizer.encode("SK-II 裙"), [False, False, True, True, False, False])
    assert tokenizer.encode_words(["雪纺裙"], [["雪纺", "裙"]], max_tokens=4)[0][1] == [False, False, True, False]
