"""Sentences for people."""

from __future__ import annotations

from interbert.errors import InterbertError, UsageError, unknown_name


def test_the_nearest_name_is_suggested() -> None:
    assert unknown_name("task", "retreival", ["vqa", "retrieval"]) == (
        "there is no task 'retreival'; did you mean 'retrieval'? Known: vqa, retrieval"
    )


def test_without_a_near_name_all_are_listed() -> None:
    assert unknown_name("task", "xyz", iter(["vqa", "vcr"])) == "there is no task 'xyz'. Known: vqa, vcr"


def test_a_wrong_command_ends_with_two_and_a_failed_one_with_one() -> None:
    assert InterbertError.exit_status == 1
    assert UsageError.exit_status == 2
    assert issubclass(UsageError, InterbertError)
