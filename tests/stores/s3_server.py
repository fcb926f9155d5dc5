"""A real S3 server on loopback, in a process of its own; it honours conditions."""

import contextlib
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "a-key-of-tests", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}
_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Its endpoint; all that it holds is gone with it."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        found = next(filter(None, map(_RUNNING.search, process.stdout)), None)
        if found is None:
            raise RuntimeError("the S3 server did not start")
        # What it logs from here on must not fill the pipe.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        yield found[1]
        process.kill()
        reader.join()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def make_bucket(endpoint: str, name: str) -> None:
    """A new, empty bucket."""
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass
