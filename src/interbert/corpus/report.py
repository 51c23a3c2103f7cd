"""What building a corpus kept and dropped, with reasons and examples: printed by the command, kept in corpus.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from interbert.text.encoding import readable

EXAMPLES = 5


@dataclass
class CorpusReport:
    """Counts of one build.

    captions, pictures: how many were seen ("read", "in the store") and "kept"; of texts alone no pictures.
    dropped: captions by reason.  unused: pictures of the store by reason.  notes: what was changed but kept.
    splits: texts and images of each.
    examples: up to five of each reason.  malformed: places of the source that could not be read, the first ten.
    steps: what each step of cleaning did to titles, as `StepCount.to_json` gives it.
    """

    captions: dict[str, int] = field(default_factory=lambda: {"read": 0, "kept": 0})
    pictures: dict[str, int] = field(default_factory=lambda: {"in the store": 0, "kept": 0})
    dropped: dict[str, int] = field(default_factory=dict)
    unused: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    malformed: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def take(self, other: CorpusReport) -> None:
        """Adds what another report dropped and noted."""
        for mine, theirs in ((self.dropped, other.dropped), (self.notes, other.notes)):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count
        for reason, examples in other.examples.items():
            for example in examples:
                self._show(reason, example)

    def drop(self, reason: str, example: str) -> None:
        """Counts one caption that is not in the corpus."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        self._show(reason, example)

    def leave(self, reason: str, example: str) -> None:
        """Counts one picture of the store that is not in the corpus."""
        self.unused[reason] = self.unused.get(reason, 0) + 1
        self._show(reason, example)

    def note(self, what: str, count: int = 1, example: str | None = None) -> None:
        """Counts what is worth knowing though nothing was dropped."""
        if count:
            self.notes[what] = self.notes.get(what, 0) + count
            if example is not None:
                self._show(what, example)

    def add_malformed(self, count: int, places: list[str]) -> None:
        """Counts what could not be read of the source. places: the first of them."""
        if count:
            self.captions["read"] += count
            self.dropped["it cannot be read"] = count
            self.malformed = [readable(place) for place in places]

    def _show(self, reason: str, example: str) -> None:
        example = readable(example)  # it goes into a file
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append(example if len(example) <= 120 else example[:117] + "...")

    def to_json(self) -> dict[str, Any]:
        """What corpus.json keeps."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people, a line each."""
        lines = [
            f"captions  {self.captions['read']:>9,} read  {self.captions['kept']:>9,} kept",
        ]
        if self.pictures:
            counts = self.pictures
            lines.append(f"pictures  {counts['in the store']:>9,} in the store  {counts['kept']:>9,} kept")
        for name, n in self.splits.items():
            of_pictures = f" of {n['images']:>8,} pictures" if self.pictures else ""
            lines.append(f"  {name:<10} {n['texts']:>9,} texts{of_pictures}")
        lines += self._step_lines()
        for title, counts in (
            ("captions dropped", self.dropped),
            ("pictures not used", self.unused),
            ("notes", self.notes),
        ):
            if counts:
                lines.append(f"{title}:")
                for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
                    example = self.examples.get(reason, [""])[0]
                    lines.append(f"  {count:>9,}  {reason}" + (f"   e.g. {example}" if example else ""))
        return lines + [f"  cannot be read: {place}" for place in self.malformed]

    def _step_lines(self) -> list[str]:
        if not self.steps:
            return []
        lines = [f"cleaning of titles        {'titles':>9}  {'changed':>9}  {'dropped':>9}"]
        for step in self.steps:
            example = f"   e.g. {step['examples'][0]}" if step["examples"] else ""
            numbers = "  ".join(f"{step[name]:>9,}" for name in ("before", "changed", "dropped"))
            lines.append(f"  {step['name']:<24}{numbers}{example}")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())
