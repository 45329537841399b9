"""One call of measure.py --packed."""

import datetime
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from . import machine, package, plan, processes, reading, table
from .results import Results, Unusable
from .runner import Runner

# Kept of the time for unpacking's end and the last page, as a share and in seconds at most.
RESERVE, MOST_RESERVE = 0.03, 8.0


def end_on_signal(number, _):
    raise SystemExit(128 + number)


def python_of(options):
    """The Python that may have PyTorch; steps run in other folders, so by its whole path."""
    if options.python is None:
        return sys.executable
    found = shutil.which(options.python)
    if found is None:
        raise Unusable(f"--python {options.python}: no such program")
    return os.path.abspath(found)


def measure(options, started, scratch):
    """Everything; what was measured is in `options.out` whenever this ends."""
    packed = package.opened(options.packed, scratch)
    losses = packed.part("losses")
    losses = [step["loss"] for step in reading.steps_of(losses)] if losses else None
    changed = " with changes" if packed.manifest.get("changed_since") else ""
    title = f"simattn {packed.commit[:12]}{changed} on {options.device}, {datetime.date.today()}"
    head = {"title": title, "commit": packed.commit, "device": options.device}
    results = Results(options.out.resolve(), head, lambda found: table.page(found, losses))
    # Of an earlier call that was killed: they would disturb every time.
    processes.kill_marked(f"{results.folder}:")
    setting = plan.Setting(
        packed,
        scratch,
        options.device,
        python_of(options),
        machine.cuda_environment(scratch) if options.device.startswith("cuda") else {},
        options.quick,
        options.only,
    )
    planned = plan.make(setting)
    seconds = options.minutes * 60
    end = started + seconds - min(MOST_RESERVE, RESERVE * seconds)
    runner = Runner(results, end, machine.memory_meter(options.device), planned.numbers.get)
    try:
        for step in planned.before:
            runner.alone(step)
        suites_end = time.monotonic() + setting.suites_limit
        runner.beside(planned.lanes, suites_end, max(2, os.cpu_count() or 2))
        for step in planned.after:
            runner.alone(step)
    finally:
        processes.kill_marked(f"{results.folder}:")
        results.save()
    print((results.folder / "table.md").read_text(encoding="utf-8"))
    return results


def main(options):
    """The exit code: 0 if the steps were run, whatever came out; 2 for arguments of no use."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, end_on_signal)
    # Next to nothing else: models and caches of compiled code, which nobody wants back.
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="simattn-measure-"))
    try:
        measure(options, started, scratch)
        return 0
    except Unusable as error:
        print(f"measure: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
