"""Letters -> phones for words that no dictionary lists."""

from __future__ import annotations

_FIRST_GUESS = dict(
    zip("abcdefghijklmnopqrstuvwxyz",
        "AE1 B K D EH1 F G HH IH1 JH K L M N AA1 P K R S T AH1 V W K Y Z".split(), strict=True)
)


def spell(word: str) -> tuple[str, ...]:
    """The phones of a word in a-z."""
    return tuple(_FIRST_GUESS[letter] for letter in word)
