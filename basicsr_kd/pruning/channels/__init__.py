"""Choosing channels to remove: groups, importance, the search for a budget."""
