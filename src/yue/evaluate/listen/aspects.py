"""What raters are asked: the paper's twelve aspects (appendix on human evaluation), in our words.

Musicality as a whole comes first; six are about the music, five about how well the song follows
what was asked for, and need the prompt on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yue.errors import OptionError
from yue.options import unknown_option

ANSWERS = {"A": 1, "=": 0, "B": -1}
"""What a rater may answer, and the outcome that it means for the song on the left (A)."""


@dataclass(frozen=True)
class Aspect:
    """One question: its key in the votes, its title and its definition on the page."""

    key: str
    title: str
    definition: str
    needs_prompt: bool = False


OVERALL = Aspect(
    "musicality", "Musicality overall",
    "All in all, which is the better piece of music? Which would you rather hear again?",
)

_MUSIC = (
    Aspect(
        "vocals", "Vocals",
        "Does the voice sound human, in tune and clear, with a pleasant timbre and real phrasing?",
    ),
    Aspect(
        "accompaniment", "Accompaniment",
        "Do the instruments sound real and clean, without noise, distortion or smearing?",
    ),
    Aspect(
        "arrangement", "Arrangement",
        "How well are instruments and voices layered, varied and balanced through the song?",
    ),
    Aspect(
        "melody", "Melody",
        "Is the tune attractive: memorable, well shaped, with phrases that lead somewhere?",
    ),
    Aspect(
        "match", "Voice and accompaniment together",
        "Do the voice and the instruments fit in key, rhythm, style and loudness?",
    ),
    Aspect(
        "structure", "Structure",
        "Does the song have clear parts that follow, return and end as in a real song?",
    ),
)

_CONTROL = (
    Aspect(
        "lyrics", "Follows the lyrics",
        "Are the given words sung, all of them, in order, and can you understand them?", True,
    ),
    Aspect("genre", "Follows the genre", "Is it in the style that was asked for?", True),
    Aspect(
        "instruments", "Follows instruments and voice",
        "Are the instruments and the kind of voice (gender, solo or choir) those asked for?", True,
    ),
    Aspect("emotion", "Follows the emotion", "Does it carry the mood that was asked for?", True),
    Aspect(
        "tempo", "Follows the tempo", "Is it as fast or as slow as was asked for?", True,
    ),
)

ASPECTS = {aspect.key: aspect for aspect in (OVERALL, *_MUSIC, *_CONTROL)}
"""All twelve by key, in the order of the page."""


def chosen(keys: Sequence[str] | None, *, prompts: bool) -> list[Aspect]:
    """The aspects of a test in the order of the page; by default all that can be judged.

    `prompts` says whether raters see what was asked for. Raises `OptionError` for unknown keys,
    and for aspects of control without prompts.
    """
    if keys is None:
        return [aspect for aspect in ASPECTS.values() if prompts or not aspect.needs_prompt]
    for key in keys:
        if key not in ASPECTS:
            raise unknown_option(key, tuple(ASPECTS))
    blind = [key for key in keys if ASPECTS[key].needs_prompt]
    if blind and not prompts:
        raise OptionError(
            f"aspects {', '.join(blind)}: raters must see what was asked for; give --prompts."
        )
    if not keys:
        raise OptionError(f"no aspects: choose from {', '.join(ASPECTS)}.")
    return [aspect for key, aspect in ASPECTS.items() if key in keys]
