"""What can be wrong with the bench itself."""


class BenchError(Exception):
    """Say what the bench lacks or what of it does not answer; `hint` is what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)
