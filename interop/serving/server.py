"""A server on loopback for the programs beside this one. Standard library alone."""

import os
import re
import subprocess

KEY = "a key for this test"


def serve(binary, model, *options):
    """A running server and its address."""
    process = subprocess.Popen([binary, "serve", model, "--port", "0", "--name", "m", *options], stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"SIMATTN_API_KEY": KEY})
    for line in process.stderr:
        found = re.match(r"serve: listening at (http://\S+)", line)
        if found:
            return process, found[1]
    raise SystemExit("the server did not start")
