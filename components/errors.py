"""What a component refuses.

ArgumentError           plain values that cannot make a working resource
"""


class ArgumentError(ValueError):
    """Name what was refused, where, and what was expected."""
