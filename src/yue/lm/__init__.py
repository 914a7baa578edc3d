"""The language models of both stages: network, cache, sampling, decoding. No songs here."""
