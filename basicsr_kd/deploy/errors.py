"""The one error of this package."""


class InferError(Exception):
    """Files that cannot be enlarged or written; the text says what was found, what was expected, what to do."""
