"""The language models of both stages: network, cache, sampling, decoding. Knows nothing of songs."""
