"""The command line: what goes where, exit statuses, and what is said when something goes wrong."""

from __future__ import annotations

import errno
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from interbert import cli, sample
from interbert.batch import Regions
from interbert.errors import InterbertError, UsageError
from interbert.vision import extractor as extractor_module
from interbert.vision.extractor import Extractor
from interbert.vision.images import open_image
from interbert.vision.provenance import ExtractorInfo


def commands() -> Iterator[click.Command]:
    for verb in cli.VERBS:
        yield from verb.commands.values() if isinstance(verb, click.Group) else [verb]


def examples(command: click.Command) -> list[str]:
    return [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ")]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Makes `interbert sample` do something else."""

    def put(act: Any) -> None:
        def make_sample(folder: Path) -> None:
            if isinstance(act, BaseException):
                raise act
            act()

        monkeypatch.setattr(sample, "make_sample", make_sample)

    return put


def test_help_names_every_verb_and_takes_less_than_a_third_of_a_second_of_the_processor() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "interbert", "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(f"\n  {verb.name} " in done.stdout for verb in cli.VERBS)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.33


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: str(command.name))
def test_every_verb_ends_its_help_with_examples_that_parse(command: click.Command) -> None:
    assert examples(command)
    for example in examples(command):
        program, *arguments = shlex.split(example)
        assert program == "interbert"
        groups = [verb.name for verb in cli.VERBS if isinstance(verb, click.Group)]
        while arguments and arguments[0] in (*groups, command.name):
            arguments.pop(0)
        command.make_context(str(command.name), arguments, obj=cli.Screen())


@pytest.mark.parametrize("arguments", [[], ["sample"], ["extract", "photos"], ["score", "a text", "--from", "run"]])
def test_a_command_that_lacks_something_is_a_wrong_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("interbert: ") or not arguments


def test_an_unknown_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["extrct", "photos"]) == 2
    assert "there is no verb 'extrct'; did you mean 'extract'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (InterbertError("the picture is broken"), 1, "the picture is broken"),
        (UsageError("the setting is wrong"), 2, "the setting is wrong"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/file"), 1, "No space left on device: 'a/file'"),
        (KeyError("x"), 1, "KeyError: 'x'  (a defect of interbert; with --debug it shows where)"),
        (KeyboardInterrupt(), 130, "stopped"),
        (SystemExit(143), 143, ""),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_an_exit_status(
    failing: Callable[[Any], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    sentence: str,
) -> None:
    failing(error)
    assert cli.run(["sample", "folder"]) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip() == (f"interbert: {sentence}" if sentence else "")


def test_debug_shows_where_it_went_wrong(failing: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    failing(InterbertError("the picture is broken"))
    assert cli.run(["sample", "folder", "--debug"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.strip().endswith("interbert: the picture is broken")


def test_a_wish_to_terminate_ends_with_143_and_the_old_handler_is_back(failing: Callable[[Any], None]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    failing(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert cli.run(["sample", "folder"]) == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_reader_that_goes_away_is_no_failure() -> None:
    command = f"{shlex.quote(sys.executable)} -m interbert pretrain c --out o --recipe tiny --print-config; echo $? >&2"
    done = subprocess.run(["bash", "-c", f"({command}) | true"], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "0"


class Grey(Extractor):
    """Two regions of every picture, whatever is in it."""

    @property
    def info(self) -> ExtractorInfo:
        return ExtractorInfo("grey", 3, ("thing",))

    def extract(self, images: Any) -> list[Regions]:
        return [self._regions(open_image(image)) for image in images]

    def _regions(self, image: Image.Image) -> Regions:
        boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.float32)
        return Regions(np.ones((2, 3), np.float32), boxes, image.size, np.zeros(2, np.int64), np.ones(2, np.float32))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(extractor_module.EXTRACTORS, "grey", lambda argument, settings: Grey())
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (4, 4), "grey").save(folder / f"{name}.png")
    return folder


def test_extract_says_what_it_did_and_goes_on_where_it_stopped(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["extract", str(photos), "--out", str(tmp_path / "store"), "--extractor", "grey", "--json"]
    assert cli.run(command) == 0
    assert json.loads(capsys.readouterr().out) == {"done": 2, "already_there": 0, "failed": {}, "not_fetched": {}}
    assert cli.run(command) == 0
    assert json.loads(capsys.readouterr().out) == {"done": 0, "already_there": 2, "failed": {}, "not_fetched": {}}


def test_a_broken_picture_is_counted_and_the_exit_status_is_3(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    store = tmp_path / "store"
    assert cli.run(["extract", str(photos), "--out", str(store), "--extractor", "grey", "--quiet"]) == 3
    said = capsys.readouterr()
    assert said.err == ""
    assert "2 pictures extracted" in said.out
    assert f"1 could not be read; see {store}/failures.jsonl" in said.out


def test_only_broken_pictures_are_a_failure(photos: Path, tmp_path: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"no picture")
    assert cli.run(["extract", str(photos), "--out", str(tmp_path / "store"), "--extractor", "grey", "--quiet"]) == 1


def test_an_unknown_extractor_is_a_wrong_command(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["extract", str(photos), "--out", "store", "--extractor", "embeded"]) == 2
    assert "there is no extractor 'embeded'; did you mean 'embedded'?" in capsys.readouterr().err


def test_store_info_verify_and_merge_speak_of_the_pictures(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, both = tmp_path / "store", tmp_path / "both"
    cli.run(["extract", str(photos), "--out", str(store), "--extractor", "grey", "--quiet"])
    capsys.readouterr()
    assert cli.run(["store", "info", str(store), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["pictures"], about["regions"], about["extractor"]["name"]) == (2, 4, "grey")
    assert cli.run(["store", "verify", str(store)]) == 0
    assert capsys.readouterr().out == f"{store}: 2 pictures, every checksum is right\n"
    assert cli.run(["store", "merge", str(store), "--out", str(both)]) == 0
    assert capsys.readouterr().out == f"{both}: 2 pictures of 1 stores\n"


def test_store_verify_names_every_damage(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    cli.run(["extract", str(photos), "--out", str(store), "--extractor", "grey", "--quiet"])
    shard = next(store.glob("shard-*.regions"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    capsys.readouterr()
    assert cli.run(["store", "verify", str(store)]) == 1
    assert "has another checksum than was written" in capsys.readouterr().out


def test_print_config_gives_a_file_that_config_takes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pretrain", "corpus", "--out", "run", "--recipe", "tiny", "--print-config"]
    assert cli.run([*command, "--set", "training.seed=7", "--set", "stages.epochs=3"]) == 0
    printed = capsys.readouterr().out
    assert "seed = 7\n" in printed
    assert "epochs = 3\n" in printed
    (tmp_path / "mine.toml").write_text(printed, encoding="utf-8")
    assert cli.run([*command, "--config", str(tmp_path / "mine.toml")]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("trainin.seed=1", "there is no setting 'trainin'; did you mean 'training'?"),
        ("training.sed=1", "did you mean 'training.seed'?"),
        ("training.seed", "--set: got 'training.seed', wanted KEY=VALUE"),
        ("training.seed=much", "seed: got 'much', wanted int"),
    ],
)
def test_a_setting_that_does_not_exist_or_fit_is_a_wrong_command(
    setting: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["pretrain", "corpus", "--out", "run", "--recipe", "tiny", "--set", setting]) == 2
    assert sentence in capsys.readouterr().err


def test_an_unknown_recipe_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pretrain", "corpus", "--out", "run", "--recipe", "tinny"]) == 2
    assert "there is no recipe 'tinny'; did you mean 'tiny'?" in capsys.readouterr().err


def test_doctor_finds_torch_and_asks_no_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it asked the network"))
    assert cli.run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["torch"]["value"].startswith("2.")
    assert found["hub"]["value"] == "not asked (--network asks)"


def test_ctrl_c_while_the_process_ends_ends_it_without_a_traceback() -> None:
    script = (
        "import atexit, os, signal; from interbert import __main__; __main__.run = lambda words: 1\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT); __main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
