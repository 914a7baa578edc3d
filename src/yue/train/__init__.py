"""The training wing: from records of songs to a model directory that `yue.load` sings with."""
