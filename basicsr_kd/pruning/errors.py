"""The one error of this package."""


class PruningError(ValueError):
    """A network cannot be pruned as asked; the message says what was found, what is possible and what to do."""
