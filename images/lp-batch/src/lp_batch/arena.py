"""Page-aligned buffers, one pair per slot of the queue."""

import contextlib
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
        # One segment for a large block instead of one per 4 KiB: pinning and mapping pages is most of
        # what a direct I/O costs the CPU.
        with contextlib.suppress(OSError):
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        view = memoryview(self._memory)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        starts = range(0, 2 * slots * block_bytes, block_bytes)
        buffers = [view[start : start + block_bytes] for start in starts]
        addresses = [base + start for start in starts]
        self.read_buffers, self.write_buffers = buffers[:slots], buffers[slots:]
        self.read_addresses, self.write_addresses = addresses[:slots], addresses[slots:]
