"""Audio codec and upsampler: waveforms <-> codes -> waveforms. Knows nothing of songs."""
