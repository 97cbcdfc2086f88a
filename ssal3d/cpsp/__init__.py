"""Confident pseudo-scenes (CPSP): learning from what the detector is sure of, on backgrounds it cannot misread."""
