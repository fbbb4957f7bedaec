"""The one exception that means: nothing is broken, the user can mend this."""


class UserError(ValueError):
    """A mistake or a circumstance that the user can mend.

    The message is one line; it names the value given, the value expected and the remedy. `run.py` prints it without a
    traceback. Anything else that goes wrong keeps its own exception and its traceback.
    """
