"""An endless book of songs made from a seed: composed, sung by a synthesiser, accompanied.

    Profile, seed, index -> compose -> Score -> perform -> Performance -> records, files

Everything that is decided is known exactly: words, phones, notes, chords, beats, tags. Composing is
pure Python; singing needs libflite and pyworld, accompanying libfluidsynth and a sound font.
"""
