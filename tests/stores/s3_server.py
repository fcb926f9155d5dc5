"""A real S3 server on loopback, in a process of its own; it honours conditions."""

import contextlib
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "a-key-of-tests", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Its endpoint; all that it holds is gone with it."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", line)
            if found:
                break
        else:
            raise RuntimeError("the S3 server did not start")
        with contextlib.ExitStack() as open_pipe:
            # What it logs must not fill the pipe: nobody reads on.
            drain = subprocess.Popen(
                [sys.executable, "-c", "import sys\nfor _ in sys.stdin.buffer: pass"],
                stdin=process.stdout,
            )
            open_pipe.callback(drain.wait)
            open_pipe.callback(process.wait)
            open_pipe.callback(process.terminate)
            yield found[1]
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def make_bucket(endpoint: str, name: str) -> None:
    """A new, empty bucket."""
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass
