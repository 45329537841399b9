"""Reads what the steps print: measurements, tests, launches, training."""

import collections
import json
import re


def rows(folder):
    """The measurements, one JSON object a line; other lines are passed over."""
    found = []
    for line in text(folder / "stdout").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "what" in row:
            found.append(row)
    return {"rows": found}


def text(path):
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def tests(folder):
    """The tests of a suite's output with their outcomes, and what failed ones said first.

    An outcome of None is a test that had begun and was not over.
    """
    output = text(folder / "stdout")
    outcomes = {}
    for name, rest in re.findall(r"^test (\S+)(?: - should panic)? \.\.\.(.*)$", output, re.M):
        outcome = re.match(r" ?(ok|FAILED|ignored)\b", rest)
        outcomes[name] = outcome.group(1) if outcome else None
    said = {}
    for name, body in re.findall(
        r"^---- (\S+) stdout ----\n(.*?)(?=^---- |^failures:|\Z)", output, re.M | re.S
    ):
        # The line after "thread … panicked at FILE:LINE:COLUMN:" is the message.
        message = re.search(r"panicked at [^\n]*:\n([^\n]+)", body)
        said[name] = message.group(1).strip() if message else " ".join(body.split())[:200]
    return {"tests": outcomes, "said": said}


UNITS = {"s": 1e3, "ms": 1.0, "µs": 1e-3, "us": 1e-3, "ns": 1e-6}


def launches(path):
    """The launches of CubeCL's profiling log, as (kernel, its form, milliseconds), in their order.

    A line is "| 2.39ms     | AttentionForwardMma | bf16 | CudaRuntime_1a2b3c4d"; the lines of the
    summary begin with a name instead, and a launch that was not measured counts as none.
    """
    found = []
    for line in text(path).splitlines():
        match = re.match(r"\| ([\d.]+)(s|ms|µs|us|ns) +\| (.+)$", line)
        if not match:
            continue
        number, unit, label = match.groups()
        name = re.match(r"\w+?(?=_[0-9a-f]{8}\b| |$)", label)
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.group(0) if name else label).lower()
        found.append((name, label.strip(), float(number) * UNITS[unit]))
    return found


def one_pass(found, runs):
    """The launches of one pass, of a log that ends with `runs` passes of the same launches.

    The longest stretch that is repeated `runs` - 1 times at the end: of the last pass the log may
    lack a few launches, which are written while the process ends. Times are means over the
    repetitions. None where nothing is repeated.
    """
    times = runs - 1
    labels = [label for _, label, _ in found]
    for length in range(len(labels) // times, 0, -1):
        end = len(labels) - 1
        if labels[end] != labels[end - length]:
            continue
        last = labels[-length:]
        if all(labels[-(turn + 1) * length : -turn * length] == last for turn in range(1, times)):
            turns = [found[len(found) - (turn + 1) * length :][:length] for turn in range(times)]
            return [
                (name, label, sum(turn[at][2] for turn in turns) / times)
                for at, (name, label, _) in enumerate(turns[0])
            ]
    return None


def by_kernel(launches_of_a_pass):
    """Calls, forms and milliseconds of each kernel, the longest first."""
    sums = collections.defaultdict(lambda: {"calls": 0, "forms": set(), "ms": 0.0})
    for name, label, ms in launches_of_a_pass:
        kernel = sums[name]
        kernel["calls"] += 1
        kernel["forms"].add(label)
        kernel["ms"] += ms
    ordered = sorted(sums.items(), key=lambda item: -item[1]["ms"])
    return [
        {"kernel": name, "calls": k["calls"], "forms": len(k["forms"]), "ms": round(k["ms"], 4)}
        for name, k in ordered
    ]


def steps_of(metrics):
    """The lines of metrics.jsonl that are steps of training; a line that is cut short is none."""
    found = []
    for line in text(metrics).splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "loss" in row:
            found.append(row)
    return found


def training(metrics, output, skip):
    """What a run came to; the speed without its first `skip` steps, which compile kernels."""
    steps = steps_of(metrics)
    found = {"parameters": None, "steps": len(steps)}
    said = re.search(r"^\w+: ([\d,]+) parameters", output, re.M)
    if said:
        found["parameters"] = int(said.group(1).replace(",", ""))
    if not steps:
        return found
    last = steps[-20:]
    found["loss"] = sum(step["loss"] for step in last) / len(last)
    found["losses"] = [step["loss"] for step in steps]
    first, end = steps[min(skip, len(steps) - 1)], steps[-1]
    seconds = end["seconds"] - first["seconds"]
    if seconds > 0:
        found["tokens_per_s"] = (end["tokens"] - first["tokens"]) / seconds
        shares = [step["mfu"] for step in steps[skip:] if step.get("mfu")]
        found["mfu_by_definition"] = sorted(shares)[len(shares) // 2] if shares else None
    return found


def means(losses, steps=20):
    """Means of `steps` losses each; what is left at the end is not enough for one."""
    whole = len(losses) // steps
    return [sum(losses[at * steps : (at + 1) * steps]) / steps for at in range(whole)]
