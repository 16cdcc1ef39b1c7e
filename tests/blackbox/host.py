"""What a Weir under test believes of its host: names and the wall clock, through `host.c`."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


class Host:
    """The files that the preloaded library reads, and the environment that names them."""

    def __init__(self, directory: Path) -> None:
        library = directory / "host.so"
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, HERE / "host.c", "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self._names, self._clock = directory / "names", directory / "clock"
        self.names()
        self.clock(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "WEIR_TEST_NAMES": str(self._names),
            "WEIR_TEST_CLOCK": str(self._clock),
        }

    def names(self, **lines: str) -> None:
        """What each name `<keyword>.test` resolves to from now on."""
        text = "".join(f"{name}.test {answer}\n" for name, answer in lines.items())
        fresh = self._names.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self._names)

    def clock(self, seconds: int) -> None:
        """How far the wall clock is off from now on."""
        with open(self._clock, "r+b" if self._clock.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))
