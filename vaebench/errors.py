"""The base of every error that is a message to the person at the keyboard, not a bug."""


class UserError(Exception):
    """Shown as its message alone, without a traceback; the exit code is 1."""

    was_shown = False
    """Whether the message is on the screen already, as in a job of a sweep."""
