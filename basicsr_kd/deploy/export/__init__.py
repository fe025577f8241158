"""Writes networks for the programs that run them, and tries them there."""
