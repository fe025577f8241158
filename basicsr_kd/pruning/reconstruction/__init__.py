"""Refitting the layers after pruned ones by least squares."""
