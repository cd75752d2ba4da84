"""Self-describing data: every 4 KiB page names its place and what it must contain.

A block of any size is a run of pages, so files written with one block size verify under another.

Page layout, little-endian 64-bit words, then payload to the page's end:

    0   magic << 32 | CRC-32 of the payload
    1   data set << 48 | page number in the file
    2   generation, mirrored: which write put it there
    3   CRC-32 of the payload's last 256 bytes, mirrored

A mirrored word holds a 32-bit value and its complement, so that it checks itself. A write only has to
change words 1 and 2; the payload and its checksums are made once per buffer. That keeps a 1 MiB write
to a few microseconds of CPU, which matters where the CPU is emulated.
"""

import random
import struct
import zlib
from array import array
from dataclasses import dataclass

PAGE_BYTES = 4096
_PAGE_WORDS = PAGE_BYTES // 8
_HEADER = struct.Struct("<4Q")
_MAGIC = 0x44524349
_TAIL_BYTES = 256
_SAMPLED_HEADERS = 16
_MASK32 = 0xFFFFFFFF
_MIN_POOL_PAGES = 64


@dataclass(frozen=True, kw_only=True)
class PageFault:
    """The first page of a block that is not what it should be."""

    page: int
    field: str
    expected: str
    found: str


def mirrored(value: int) -> int:
    """Pair a 32-bit value with its complement."""
    return value | (value ^ _MASK32) << 32


def payload_pool(pages: int, seed: int) -> bytes:
    """Make pages of incompressible payload with their checksums in place, the pool twice in a row.

    Doubled, so that a block starting at any page of the pool is one contiguous slice.
    """
    pages = max(pages, _MIN_POOL_PAGES)
    rng = random.Random(seed)  # noqa: S311 - test data, not secrets
    pool = bytearray()
    for _ in range(pages):
        payload = rng.randbytes(PAGE_BYTES - _HEADER.size)
        pool += _HEADER.pack(
            _MAGIC << 32 | zlib.crc32(payload), 0, 0, mirrored(zlib.crc32(payload[-_TAIL_BYTES:]))
        )
        pool += payload
    return bytes(pool + pool)


class BlockWriter:
    """Stamps one write buffer with place and generation before each write."""

    def __init__(self, buffer: memoryview, pool: bytes, rotation: int, data_set: int) -> None:
        start = rotation * PAGE_BYTES % (len(pool) // 2)
        buffer[:] = pool[start : start + len(buffer)]
        words = buffer.cast("Q")
        self._pages = len(buffer) // PAGE_BYTES
        self._places = words[1::_PAGE_WORDS]
        self._generations = words[2::_PAGE_WORDS]
        self._data_set = data_set << 48

    def stamp(self, first_page: int, generation: int) -> None:
        place = self._data_set | first_page
        self._places[:] = memoryview(array("Q", range(place, place + self._pages)))
        self._generations[:] = memoryview(array("Q", (mirrored(generation),)) * self._pages)


class BlockReader:
    """Verifies one read buffer after each read."""

    def __init__(self, buffer: memoryview, data_set: int) -> None:
        self._buffer = buffer
        self._pages = len(buffer) // PAGE_BYTES
        words = buffer.cast("Q")
        self._magics = words[0::_PAGE_WORDS]
        self._places = words[1::_PAGE_WORDS]
        self._generations = words[2::_PAGE_WORDS]
        self._tails = words[3::_PAGE_WORDS]
        self._data_set = data_set << 48

    def verify(self, first_page: int, generation: int | None, *, sample: int, full: bool) -> PageFault | None:
        """Check headers and the tail of page `sample`; with `full` all headers and all payload.

        Of a large block a sampled check looks at every n-th header, page `sample` among them.
        `generation` is what the last write of this run put there; None where this run wrote nothing,
        then each page only has to be consistent in itself.
        """
        if self._pages == 1 and not full and self._is_good_page(self._data_set | first_page, generation):
            return None
        step = 1 if full else max(1, self._pages // _SAMPLED_HEADERS)
        headers = slice(sample % step, None, step)
        fault = (
            self._place_fault(first_page, headers)
            or self._magic_fault(first_page, headers)
            or self._generation_fault(first_page, headers, generation)
            or self._tail_fault(first_page, sample)
        )
        if fault is None and full:
            return self._payload_fault(first_page)
        return fault

    def _is_good_page(self, place: int, generation: int | None) -> bool:
        """Decide for a block of one page in a third of the time; a fault is left for the checks to name."""
        magic, found_place, found_generation, tail = _HEADER.unpack_from(self._buffer)
        return bool(
            found_place == place
            and magic >> 32 == _MAGIC
            and (found_generation ^ found_generation >> 32) & _MASK32 == _MASK32
            and (generation is None or found_generation & _MASK32 == generation)
            and tail == mirrored(zlib.crc32(self._buffer[-_TAIL_BYTES:]))
        )

    # Each check first decides for all its pages at once, in C, and looks for the page only if it fails.

    def _place_fault(self, first_page: int, headers: slice) -> PageFault | None:
        place = self._data_set | first_page
        places = self._places[headers].tolist()
        expected = range(place, place + self._pages)[headers]
        if places == list(expected):
            return None
        bad = next(index for index, found in enumerate(places) if found != expected[index])
        return PageFault(
            page=first_page + expected[bad] - place,
            field="place",
            expected=hex(expected[bad]),
            found=hex(places[bad]),
        )

    def _magic_fault(self, first_page: int, headers: slice) -> PageFault | None:
        magics = self._magics[headers].tolist()
        if min(magics) >> 32 == max(magics) >> 32 == _MAGIC:
            return None
        bad = next(index for index, found in enumerate(magics) if found >> 32 != _MAGIC)
        return PageFault(
            page=first_page + range(self._pages)[headers][bad],
            field="magic",
            expected=hex(_MAGIC),
            found=hex(magics[bad] >> 32),
        )

    def _generation_fault(self, first_page: int, headers: slice, generation: int | None) -> PageFault | None:
        generations = self._generations[headers].tolist()
        if generation is not None:
            good = {mirrored(generation)}
        else:
            good = {word for word in set(generations) if word == mirrored(word & _MASK32)}
        if good.issuperset(generations):
            return None
        bad = next(index for index, found in enumerate(generations) if found not in good)
        return PageFault(
            page=first_page + range(self._pages)[headers][bad],
            field="generation",
            expected="a mirrored word" if generation is None else str(generation),
            found=hex(generations[bad]) if generation is None else str(generations[bad] & _MASK32),
        )

    def _tail_fault(self, first_page: int, index: int) -> PageFault | None:
        end = (index + 1) * PAGE_BYTES
        checksum = mirrored(zlib.crc32(self._buffer[end - _TAIL_BYTES : end]))
        if checksum == self._tails[index]:
            return None
        return PageFault(
            page=first_page + index,
            field="tail checksum",
            expected=hex(self._tails[index] & _MASK32),
            found=hex(checksum & _MASK32),
        )

    def _payload_fault(self, first_page: int) -> PageFault | None:
        for index in range(self._pages):
            start = index * PAGE_BYTES
            checksum = zlib.crc32(self._buffer[start + _HEADER.size : start + PAGE_BYTES])
            if checksum != self._magics[index] & _MASK32:
                return PageFault(
                    page=first_page + index,
                    field="payload checksum",
                    expected=hex(self._magics[index] & _MASK32),
                    found=hex(checksum),
                )
        return None
