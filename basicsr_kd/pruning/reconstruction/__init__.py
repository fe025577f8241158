"""The layers after pruned ones, refitted by least squares."""
