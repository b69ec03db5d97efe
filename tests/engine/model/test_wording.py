"""Counts and lists in sentences."""

from __future__ import annotations

import pytest

from openhcs_engine.model.wording import first_sentences, listed_first


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(0, 2, ""), (1, 2, "0"), (2, 2, "0, 1"), (3, 2, "0, 1 and 1 more"), (9, 1, "0 and 8 more")],
)
def test_the_first_of_many_are_named_and_the_others_counted(count: int, most: int, expected: str) -> None:
    """Values of any type and source; nothing is counted that is named."""
    assert listed_first(range(count), most) == listed_first(iter(range(count)), most) == expected
    assert listed_first(range(count), most, "; ") == expected.replace(",", ";")


@pytest.mark.parametrize("count", range(4))
def test_like_sentences_are_shown_up_to_a_number(count: int) -> None:
    """What is left is one sentence more, which says how many."""
    sentences = [f"File {number} is empty." for number in range(count)]
    shown = first_sentences(sentences, 2, "files are empty")
    assert shown == sentences[:2] + ["1 more files are empty."] * (count > 2)
