"""Runs steps within their limits and within the time of the whole."""

import collections
import dataclasses
import pathlib
import shutil
import sys
import time
import typing

from . import processes

# Between two looks at what runs, at the card's memory, and at whether a step has done enough, in
# seconds: what is timed should not notice them.
PAUSE, MEMORY_PAUSE, ENOUGH_PAUSE = 0.02, 0.1, 0.5


@dataclasses.dataclass
class Step:
    """One command and what is read from it."""

    name: str
    command: list
    limit: float  # Seconds.
    # With less time than this it is not begun.
    least: float = 5.0
    # What its lines are about, such as {"program": "simattn", "form": "sas"}.
    about: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)
    # Files that it finds in its folder.
    files: dict = dataclasses.field(default_factory=dict)
    # From the folder with its output to a dictionary; called however the step ended.
    read: typing.Callable = lambda folder: {}
    # From the seconds that its limit leaves to whether it has done enough and is asked to stop.
    enough: typing.Callable | None = None
    # The steps without which it is of no use.
    needs: tuple = ()


@dataclasses.dataclass
class Running:
    """A step that has been started."""

    step: Step
    folder: pathlib.Path
    process: processes.Process
    started: float
    limit: float
    memory_before: float | None
    memory_most: float | None
    memory_read: float
    enough_read: float
    asked: bool = False


class Runner:
    """`end` is when everything has to be over (time.monotonic); `order` numbers the folders."""

    def __init__(self, results, end, memory, order):
        self.results, self.end, self.memory = results, end, memory
        self.order = order

    def alone(self, step):
        """Runs a step with nothing beside it."""
        self.beside([[step]], self.end, 1)

    def beside(self, lanes, end, slots):
        """Runs the steps of each lane one after another, and up to `slots` lanes side by side."""
        end = min(end, self.end)
        waiting = collections.deque(collections.deque(lane) for lane in lanes)
        running = {}
        while waiting or running:
            for number, active in list(running.items()):
                if self._over(active[0]):
                    del running[number]
                    waiting.appendleft(active[1])
            while waiting and len(running) < slots:
                lane = waiting.popleft()
                started = self._next(lane, end)
                if started:
                    running[id(lane)] = (started, lane)
            time.sleep(PAUSE if running else 0)

    def _next(self, lane, end):
        """Starts the lane's next step that can be started."""
        while lane:
            step = lane.popleft()
            # Nor is anything warmed up for a step that is done.
            if any(map(self.results.finished, [step.name, step.about.get("warm")])):
                continue
            missing = [name for name in step.needs if not self.results.finished(name)]
            left = end - time.monotonic()
            if missing:
                self._leave_out(step, f"needs {', '.join(missing)}")
            elif left < min(step.least, step.limit):
                self._leave_out(step, "no time was left")
            elif started := self._start(step, min(step.limit, left)):
                return started
        return None

    def _leave_out(self, step, why):
        entry = {"name": step.name, "about": step.about, "ended": "left out", "why": why}
        self.results.add(entry)

    def _start(self, step, limit):
        folder = self.results.folder / f"{self.order(step.name):02}-{step.name}"
        if folder.exists():
            shutil.rmtree(folder)  # Of an earlier call, and it did not finish.
        folder.mkdir(parents=True)
        for name, text in step.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        print(f"== {step.name}, {limit:.0f} s at most", file=sys.stderr, flush=True)
        before = self.memory()
        mark = f"{self.results.folder}:{step.name}"
        now = time.monotonic()
        try:
            process = processes.Process(step.command, folder, step.environment, mark)
        except OSError as error:
            self._record(step, folder, "failed", f"cannot be started: {error}", None, 0.0, limit)
            return None
        return Running(step, folder, process, now, limit, before, before, now, now)

    def _over(self, active):
        """Whether a step has ended, or was ended now."""
        step, seconds = active.step, time.monotonic() - active.started
        if time.monotonic() - active.memory_read >= MEMORY_PAUSE:
            active.memory_read, used = time.monotonic(), self.memory()
            if used is not None:
                active.memory_most = max(used, active.memory_most or 0.0)
        code = active.process.code()
        if code is None and seconds < active.limit:
            if step.enough and time.monotonic() - active.enough_read >= ENOUGH_PAUSE:
                active.enough_read = time.monotonic()
                if not active.asked and step.enough(active.limit - seconds):
                    active.process.ask_to_stop()
                    active.asked = True
            return False
        if code is None:
            ended, why = "killed", f"its limit of {active.limit:.1f} s was over"
        elif code:
            ended, why = "failed", f"ended with {code}: {last_line(active.folder / 'stderr')}"
        else:
            ended, why = "finished", ""
        if not active.process.kill():
            why += "; a process of it could not be ended"
        seconds = time.monotonic() - active.started
        more = {}
        if active.memory_most is not None:
            before, most = active.memory_before or 0.0, active.memory_most
            more = {"device_mib_before": round(before, 1), "device_mib_most": round(most, 1)}
        self._record(step, active.folder, ended, why, code, seconds, active.limit, more)
        return True

    def _record(self, step, folder, ended, why, code, seconds, limit, more=None):
        try:
            found = step.read(folder)
        except Exception as error:  # Whatever is wrong with one step's output, others go on.
            found = {"unreadable": repr(error)}
        entry = {
            "name": step.name,
            "about": step.about,
            "ended": ended,
            "why": why,
            "code": code,
            "seconds": round(seconds, 2),
            "limit": round(limit, 2),
            "shortened": limit < step.limit,
            "folder": folder.name,
            "command": [str(word) for word in step.command],
        }
        self.results.add(entry | (more or {}) | found)


def last_line(path):
    """The last line of a file that says something."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
