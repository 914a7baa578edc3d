"""What the bundled model shows, part by part; `benchmarks/bundled.py` runs them and prints a table.

`lyrics` reads what is sung, `singers` sings it (the model, the songbook) and keeps it, `table`
holds estimates with intervals and verdicts; every other module is a part, whose `run(bench)` gives
an `Outcome`.
"""
