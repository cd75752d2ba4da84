"""A command line that answers a mistyped word with the one that may have been meant.

It stands on the standard library alone: every program of the repository may use it, and this image has
no other's code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Suggests the command, the choice or the option that is most like one that there is not."""

    _words: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        """End with the error and the command that shows all options: printed here, they would hide it."""
        self.exit(2, f"{self.prog}: error: {message}\nhint: {self.prog} --help\n")

    def parse_known_args(  # type: ignore[override]  # the typeshed's overloads are of any namespace's type
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse all words, and end with an error where one is not known.

        A command's own parser is called by this name: what is left over is compared with its options
        and not with those of the whole program.
        """
        self._words = tuple(sys.argv[1:] if args is None else args)
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return known, unknown

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        mistyped = next((word for word in unknown if word.startswith("-")), "")
        self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant_option(mistyped)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            option = "" if action.option_strings else self._unknown_option_before(str(value))
            if option:
                # Its value was taken for this word.
                message = f"unrecognized arguments: {option}{self._meant_option(option)}"
                raise argparse.ArgumentError(None, message) from None
            choices = [str(choice) for choice in action.choices or ()]
            options = [] if action.option_strings else list(self._option_string_actions)
            error.message += _did_you_mean(str(value), [*choices, *options])
            raise

    def _unknown_option_before(self, value: str) -> str:
        """Return the first word before `value` that looks like an option and is none."""
        before = self._words[: self._words.index(value)] if value in self._words else ()
        return next((word for word in before if word.startswith("-") and not self._knows(word)), "")

    def _knows(self, word: str) -> bool:
        """Return whether a word that begins with a dash is an option, or one cut short or with its value."""
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        return any(known.startswith(name) for known in self._option_string_actions)

    def _meant_option(self, word: str) -> str:
        return _did_you_mean(word.partition("=")[0], self._option_string_actions)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    import difflib  # of use to somebody who mistyped alone: a running agent has no memory for it

    return "".join(f"; did you mean {meant}?" for meant in difflib.get_close_matches(word, list(known), n=1))
