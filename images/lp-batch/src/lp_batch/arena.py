"""Page-aligned buffers, one pair per slot of the queue."""

import ctypes
import mmap


class Arena:
    """A read buffer and a write buffer of `block_bytes` for each slot.

    Anonymous memory is aligned to pages, which O_DIRECT needs, and costs nothing until it is touched:
    a pattern that only reads never pays for its write buffers.
    """

    def __init__(self, slots: int, block_bytes: int) -> None:
        self.slots = slots
        self.block_bytes = block_bytes
        self._memory = mmap.mmap(-1, 2 * slots * block_bytes)
        view = memoryview(self._memory)
        half = slots * block_bytes
        self.read_buffers = [view[i * block_bytes : (i + 1) * block_bytes] for i in range(slots)]
        self.write_buffers = [
            view[half + i * block_bytes : half + (i + 1) * block_bytes] for i in range(slots)
        ]
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.read_addresses = [base + i * block_bytes for i in range(slots)]
        self.write_addresses = [base + half + i * block_bytes for i in range(slots)]
