"""Bytes to values and back: keys, frames, packets, letters, bodies. No clock, no randomness."""
