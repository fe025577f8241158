"""Which channels go: groups, importance, the search for a budget."""
