"""Whole files in and out: errors that name the file, writes that are all or nothing."""

import contextlib
import os
import uuid
from collections.abc import Iterator

from etils import epath

from jaxvision.errors import UserError


def read_bytes(path: epath.PathLike) -> bytes:
  """Returns the bytes of a file, local or `gs://`.

  Raises:
    UserError: the file is missing, a directory or unreadable; names the path.
  """
  try:
    return epath.Path(path).read_bytes()
  except FileNotFoundError:
    raise UserError(f"{os.fspath(path)}: no such file") from None
  except OSError as error:
    reason = error.strerror or error
    raise UserError(f"{os.fspath(path)}: cannot be read: {reason}") from error


def write_bytes(path: epath.PathLike, content: bytes) -> None:
  """Writes a file so that a reader sees all of it or none.

  The bytes go to a temporary file in the same directory, which is then renamed.

  Raises:
    UserError: the directory is missing, full or not writable; names the path.
  """
  path = epath.Path(path)
  temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
  try:
    temporary.write_bytes(content)
    temporary.replace(path)
  except OSError as error:
    temporary.unlink(missing_ok=True)
    reason = error.strerror or error
    raise UserError(f"{os.fspath(path)}: cannot be written: {reason}") from error


@contextlib.contextmanager
def decoding(name: epath.PathLike, what: str) -> Iterator[None]:
  """Turns whatever a decoder raises into one UserError that names the file.

  Args:
    name: path (or other name) of what is being decoded.
    what: the expected content, e.g. "PNG image".
  """
  try:
    yield
  except UserError:
    raise
  # Decoders of damaged bytes raise nearly anything: SyntaxError (Pillow), zlib.error,
  # struct.error, IndexError. Only the file's name and the reason help the user.
  except Exception as error:
    reason = " ".join(str(error).split()) or type(error).__name__
    raise UserError(f"{os.fspath(name)}: damaged or not a {what}: {reason}") from error
