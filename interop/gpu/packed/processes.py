"""Child processes that end with everything they started.

A process leads a group of its own, and the environment of all that it starts has a mark, so that
children which left the group are found as well. It dies with this program, even if that is killed.
"""

import ctypes
import os
import pathlib
import signal
import subprocess
import time

MARK = "SIMATTN_MEASURED_STEP"
PR_SET_PDEATHSIG = 1
# Loaded before any fork: a child between fork and exec must not look for libraries.
_LIBC = ctypes.CDLL(None)


def _die_with_parent():
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A running command, with its output in `folder`/stdout and `folder`/stderr."""

    def __init__(self, command, folder, environment, mark):
        self.mark = mark
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as errors:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=os.environ | environment | {MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def code(self):
        """The exit code, or None while it runs."""
        return self.child.poll()

    def ask_to_stop(self):
        self.child.send_signal(signal.SIGTERM)

    def kill(self, patience=5.0):
        """Ends the process and all that it started; whether nothing is left."""
        if self.child.poll() is None:
            # Its leader is not waited for yet, so the group's number is still its own.
            os.killpg(self.child.pid, signal.SIGKILL)
        end = time.monotonic() + patience
        whole = self.mark + "\0"
        while True:
            kill_marked(whole)
            if self.child.poll() is not None and not marked(whole):
                return True
            if time.monotonic() > end:
                return False
            time.sleep(0.01)


def marked(beginning):
    """The processes whose mark begins like this; a zero byte says that it ends there."""
    wanted = f"\0{MARK}={beginning}".encode()
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if wanted in b"\0" + (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # It ended meanwhile, or is another user's.
            continue
    return [pid for pid in found if pid != os.getpid()]


def kill_marked(beginning):
    for pid in marked(beginning):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
