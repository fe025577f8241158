"""The one error of this package."""


class ClipError(ValueError):
    """Clips that cannot be used; the message names the file and says what was found, what is possible, what to do."""
