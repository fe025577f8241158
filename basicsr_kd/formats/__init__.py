"""Reads files of other programs under BasicSR's names. Imports nothing heavier than NumPy."""
