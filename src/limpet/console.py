"""What a long-lived process prints: nobody may be there to read it any more.

A terminal that was closed, or a pipe whose reader ended, makes every later `print` and log line
raise. A server that saves work must not stop half way over that.
"""

import contextlib
import errno
import io
import os
import sys


class _Outliving(io.TextIOWrapper):
    """Text that goes nowhere once nobody reads it. A full disk loses lines and nothing else."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._without_reader(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._without_reader(error)

    def _without_reader(self, error: OSError) -> None:
        if error.errno not in {errno.EPIPE, errno.EIO}:  # EIO: a terminal that hung up
            return
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.dup2(nowhere, self.fileno(), inheritable=False)
            finally:
                os.close(nowhere)
            super().flush()  # what is held goes there too


def outlive_readers() -> None:
    """Let standard output and standard error go on when who reads them has gone.

    Call it first thing in a process of one's own: it replaces `sys.stdout` and `sys.stderr`.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Outliving):
            encoding, errors = stream.encoding, stream.errors
            outliving = _Outliving(stream.detach(), encoding, errors, line_buffering=True)
            setattr(sys, name, outliving)
