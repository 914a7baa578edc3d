"""The lines by which a training sequence says what it asks for: its first line, word for word.

The first four are the published models'; the others are tasks of this project. Pure data.
"""

from __future__ import annotations

INSTRUCTION = "Generate music from the given lyrics segment by segment."
SPEECH = "Generate speech:"
MUSIC = "Generate music based on the given tags"
DUAL_MUSIC = "Generate music in dual-track format based on the given tags"
VOCALS_ONLY = "Generate the vocal track from the given lyrics segment by segment."
ACCOMPANY = "Generate the accompaniment of the given vocal segment by segment."
ADD_VOCALS = "Generate the vocal of the given accompaniment segment by segment."
SEPARATE = "Separate the vocal and the accompaniment of the given music."
CONVERT = "Sing the given vocal with the voice of the reference."

INSTRUCTIONS = (
    INSTRUCTION, SPEECH, MUSIC, DUAL_MUSIC, VOCALS_ONLY, ACCOMPANY, ADD_VOCALS, SEPARATE, CONVERT,
)
