"""Blind A/B listening tests of whole songs: `make` the test, `serve` it, `report` on the votes.

    options aspects design folder     its size; what is asked; who hears what; names of files
    sound stimuli make                songs -> copies under opaque names -> a test
    votes desk serve page/            the journal; whose turn it is; the web server; its page
    statistics davidson               the mathematics
    ballots analysis                  votes, unblinded -> figures
    words report report_page          figures -> words, table, CSV, one HTML page

A test is a folder: `test.json` (all that the server knows: no system, no song's name), `key.json`
(which file is whose: private, read by the report alone), `audio/` (files under names that say
nothing), `votes.jsonl`.
"""
