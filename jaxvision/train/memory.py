"""Memory that the process keeps for its next step."""

import ctypes
import platform

# Numbers of glibc's <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
  """Lets glibc keep freed memory instead of giving it back to the system.

  XLA allocates the temporaries of every call anew. glibc takes allocations over 32 MiB
  from the system and returns them when they are freed, so that each step would touch
  fresh pages: 15 of 55 ms, in the benchmark's 3-D transposed convolution. Elsewhere
  than under glibc nothing is done.
  """
  if platform.libc_ver()[0] != "glibc":
    return
  libc = ctypes.CDLL(None)
  libc.mallopt(_MMAP_THRESHOLD, 2**30)
  libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
  libc.mallopt(_TOP_PAD, 2**26)
