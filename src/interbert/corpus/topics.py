"""Texts made of a product's columns, which its picture has beside its title: what a shop's topics look like.

Titles are full of brands and names of models, topics are not: "{colour} {kind}" says "white skirts" of a product.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from interbert.errors import UsageError

_COLUMN = re.compile(r"\{([^{}]+)\}")


class TopicTemplates:
    """Templates of texts, with columns in braces.

    Raises UsageError for one that names no column or has a brace that is not closed.
    """

    def __init__(self, templates: Sequence[str]) -> None:
        self.templates = tuple(templates)
        for template in templates:
            left = _COLUMN.sub("", template)
            if left == template or "{" in left or "}" in left:
                raise UsageError(f"topics: got '{template}', wanted columns in braces, as in '{{colour}} {{category}}'")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that are named, each once."""
        return tuple(dict.fromkeys(name for template in self.templates for name in _COLUMN.findall(template)))

    def of(self, cells: Mapping[str, Any]) -> list[str]:
        """The texts of a product, each once; a template of which a column is empty makes none.

        >>> templates = TopicTemplates(["{colour} {kind}", "{kind}", "{kind} for {gender}"])
        >>> templates.of({"colour": "White", "kind": "Skirts", "gender": None})
        ['White Skirts', 'Skirts']
        """
        said = {name: "" if cells.get(name) is None else str(cells[name]).strip() for name in self.columns}
        filled = [template for template in self.templates if all(said[name] for name in _COLUMN.findall(template))]
        return list(dict.fromkeys(_COLUMN.sub(lambda found: said[found[1]], template) for template in filled))
