"""Settings from text and TOML, into nested dataclasses and tuples of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interbert.errors import InterbertError, UsageError
from interbert.settings import changed, read_pairs, read_toml, to_toml


@dataclass(frozen=True)
class Part:
    name: str = "a"
    times: int = 1


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    limit: int | None = None


@dataclass(frozen=True)
class Whole:
    size: int = 8
    inner: Inner = field(default_factory=Inner)
    parts: tuple[Part, ...] = (Part(), Part("b", 2))
    pair: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class Bounds:
    least: int = 90
    most: int = 100

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise UsageError("least: wanted at most `most`")


@dataclass(frozen=True)
class Several:
    bounds: Bounds = field(default_factory=Bounds)
    parts: tuple[Bounds, ...] = (Bounds(), Bounds())


def test_a_key_reaches_into_every_entry_of_a_tuple_or_into_one() -> None:
    assert changed(Whole(), {"parts.times": "5"}).parts == (Part("a", 5), Part("b", 5))
    assert changed(Whole(), {"parts.1.times": "5"}).parts == (Part("a", 1), Part("b", 5))


def test_values_that_fit_together_alone_may_come_in_any_order() -> None:
    keys = {"bounds.most": "36", "bounds.least": "10", "parts.most": 36, "parts.0.least": 1, "parts.1.least": 2}
    for given in (keys, dict(reversed(keys.items()))):
        found = changed(Several(), given)
        assert (found.bounds, found.parts) == (Bounds(10, 36), (Bounds(1, 36), Bounds(2, 36)))


def test_a_list_of_tables_replaces_a_tuple() -> None:
    assert changed(Whole(), {"parts": [{"name": "c"}]}).parts == (Part("c", 1),)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("parts.tims", 1, "did you mean 'parts.times'?"),
        ("parts.2.times", 1, "there are 2 of them"),
        ("parts", "x", r"wanted \[\[parts\]\] tables"),
        ("parts.0.times", "many", "wanted int"),
        ("iner.rate", 1, "did you mean 'inner'?"),
    ],
)
def test_a_key_or_value_that_does_not_fit_is_refused(key: str, value: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        changed(Whole(), {key: value})


def test_what_is_printed_as_toml_is_read_back_the_same(tmp_path: Path) -> None:
    mine = Whole(3, Inner(1e-6, 7), (Part('with "quotes"', 3),), (0.1, 0.2))
    (tmp_path / "mine.toml").write_text(to_toml(mine), encoding="utf-8")
    assert changed(Whole(), read_toml(tmp_path / "mine.toml")) == mine
    (tmp_path / "default.toml").write_text(to_toml(Whole()), encoding="utf-8")
    assert changed(mine, read_toml(tmp_path / "default.toml")) == Whole()


def test_tables_become_dotted_keys(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text("size = 4\n[inner]\nrate = 0.25\n", encoding="utf-8")
    assert read_toml(path) == {"size": 4, "inner.rate": 0.25}


def test_a_file_that_is_no_toml_or_not_there_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("size = \n", encoding="utf-8")
    with pytest.raises(InterbertError, match="is not TOML"):
        read_toml(tmp_path / "broken.toml")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_toml(tmp_path / "none.toml")


def test_a_pair_without_an_equals_sign_is_refused() -> None:
    assert read_pairs(["a = 1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(UsageError, match="wanted KEY=VALUE"):
        read_pairs(["a"])
