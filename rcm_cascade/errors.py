"""The one error that users see as a sentence."""


class InputError(ValueError):
    """Something the user gave is wrong: a file, a value, a folder.

    The message is one sentence that says what was got, what was expected, which file or key, and what to do. The
    command line prints it without a traceback and exits with status 2; everything else that escapes is a bug.
    """


class JobsFailedError(Exception):
    """Some of several jobs failed, each alone; the message names them. The command line exits with status 1."""
