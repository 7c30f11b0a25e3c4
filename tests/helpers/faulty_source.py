"""A source whose frames do to the process that reads them what their names say; worker processes import it by name."""

import os
import re
import signal
import time
from typing import Any

from depthvar.datasets import DepthSource
from depthvar.datasets.frame import Frame


class FaultySource(DepthSource):
    """Reading ``kill.npy`` kills the process, ``stop.npy`` stops it, ``hang.npy`` does not end, ``slow.npy`` takes 3 s.

    ``busy.npy`` does not end either, and no other thread of the process runs: a search that holds the GIL.

    Every attempt is noted in a file next to the data, ``attempts``; a folder named ``mended`` there ends all that.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return FaultySource, (self.name, self.description, self.root)

    def read(self, key: str) -> Frame:
        name = "" if (self.root / "mended").exists() else os.path.basename(key)
        if name:
            with open(self.root / "attempts", "a") as attempts:
                attempts.write(f"{key}\n")
        if name == "kill.npy":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "stop.npy":
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1000)  # another thread may be the one that gets the signal, and a little later
        elif name == "hang.npy":
            time.sleep(1000)
        elif name == "busy.npy":
            re.match("(a+)+b", "a" * 100)  # some 2**100 steps
        elif name == "slow.npy":
            time.sleep(3)
        return super().read(key)
