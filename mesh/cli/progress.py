"""How far a file has come, as one line for a person who watches standard error."""

import sys
from typing import Final, TextIO

_CELLS: Final = 30
_MIB: Final = 1 << 20


class Bar:
    """Told of progress; draws only on a terminal. `reached` counts bytes."""

    def __init__(self, *, is_silent: bool = False, stream: TextIO | None = None) -> None:
        self.reached = 0
        self._stream = sys.stderr if stream is None else stream
        self._is_drawn = not is_silent and self._stream.isatty()
        self._shown = -1

    def __call__(self, done: int, total: int) -> None:
        """Take note that `done` bytes of `total` are on their way or there."""
        self.reached = max(self.reached, done)
        percent = 100 * self.reached // total
        if self._is_drawn and percent != self._shown:
            self._shown = percent
            cells = "#" * (_CELLS * self.reached // total)
            size = f"{self.reached / _MIB:.1f} of {total / _MIB:.1f} MiB"
            self._stream.write(f"\r[{cells:{_CELLS}}] {percent:3d} %  {size}")
            self._stream.flush()

    def end(self) -> None:
        """Go to the next line if anything was drawn."""
        if self._shown >= 0:
            self._stream.write("\n")
            self._stream.flush()
