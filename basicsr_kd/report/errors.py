"""What goes wrong while a report is made."""


class ReportError(Exception):
    """The report that was asked for cannot be made; the text says what was found, what was expected, what to do."""
