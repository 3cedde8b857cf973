"""The checksum of TensorFlow's checkpoints, many bytes at a time.

The polynomial is Castagnoli's; `masked` is what a file stores (a checksum of data that
holds checksums would be weak).
"""

import numpy as np

_POLYNOMIAL = 0x82F63B78


def _table() -> np.ndarray:
  table = np.arange(256, dtype=np.uint32)
  for _ in range(8):
    table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
  return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
  """Returns the CRC-32C of `data`.

  The register is linear in the message, so lanes of equal length run side by side and
  are joined afterwards, left ones shifted by the zeros that follow them.
  """
  size = len(data)
  lanes = 1 << (size.bit_length() // 2 + 2)
  length = -(-size // lanes)
  # Zeros in front of a message leave a zero register as it is.
  message = np.zeros(lanes * length, np.uint8)
  message[message.size - size :] = np.frombuffer(data, np.uint8)
  register = np.zeros(lanes, np.uint32)
  for column in np.ascontiguousarray(message.reshape(lanes, length).T):
    register = _TABLE[(register ^ column) & 0xFF] ^ (register >> 8)
  shift = _power(_zero_byte(), length)
  while register.size > 1:
    register = _apply(shift, register[::2]) ^ register[1::2]
    shift = _apply(shift, shift)
  # The checksum's register does not start from zero but from ones.
  start = _apply(_power(_zero_byte(), size), np.array([0xFFFFFFFF], np.uint32))
  return int(register[0] ^ start[0] ^ 0xFFFFFFFF)


def masked(data: bytes) -> int:
  """Returns the checksum of `data` in the form in which files store it."""
  crc = crc32c(data)
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _zero_byte() -> np.ndarray:
  """Returns what one zero byte makes of each of the register's 32 bits."""
  bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
  return _TABLE[bits & 0xFF] ^ (bits >> 8)


def _apply(operator: np.ndarray, registers: np.ndarray) -> np.ndarray:
  bits = (registers[:, None] >> np.arange(32, dtype=np.uint32)) & 1
  return np.bitwise_xor.reduce(np.where(bits, operator, np.uint32(0)), axis=1)


def _power(operator: np.ndarray, exponent: int) -> np.ndarray:
  result = np.uint32(1) << np.arange(32, dtype=np.uint32)
  while exponent:
    if exponent & 1:
      result = _apply(operator, result)
    operator = _apply(operator, operator)
    exponent >>= 1
  return result
