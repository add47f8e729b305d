"""The one exception for what a user can mend."""


class InputError(ValueError):
    """What the user gave cannot be used: a file, a flag, a tensor.

    The text is a sentence or two: what is wrong, what was found, what to do. Commands print it as one line and
    end with status 2; library callers catch it as a `ValueError`.
    """


class DivergedError(InputError):
    """The loss or a gradient is no number any more: settings, not files, are to blame. A search goes on without."""
