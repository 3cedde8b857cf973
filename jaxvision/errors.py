"""Errors that are the user's to mend."""


class UserError(Exception):
  """A wrong flag, file or shape, told in one line that names it.

  The launcher prints the message without a traceback and exits with status 2.
  """
