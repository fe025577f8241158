"""The error of inheritance."""


class InheritanceError(ValueError):
    """The student cannot inherit from this teacher."""
