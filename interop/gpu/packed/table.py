"""The page in Markdown: the goals first, then everything that was measured."""

from . import reading
from .operations import Sizes, training_per_token

# Of the 10M preset, configs/*-10m.toml.
PRESET = Sizes(8, 256, heads=4, expanded_heads=12, head_dim=64, expanded_dim=96)
PRESET_LAYERS = 10
# Means of 20 steps' losses, in nats, and how many are compared.
LOSSES_APART, COMPARED = 0.01, 10
STEP, LAYER = "train step", "layer forward+backward"


class Measured:
    """What the steps say, by what they are about."""

    def __init__(self, everything, losses):
        self.head, self.steps = everything["head"], everything["steps"]
        self.losses = losses
        self.timed = {}
        for step in self.steps:
            about = step["about"]
            if about.get("logged") or about.get("warm") or about.get("other"):
                continue
            for row in step.get("rows", []):
                program = about["program"]
                if program == "torch":
                    program = "compiled" if about.get("compiled") else "eager"
                key = (program, about.get("form"), row["what"])
                self.timed[key] = row | {
                    name: step[name]
                    for name in ["device_mib_before", "device_mib_most"]
                    if name in step
                }

    def ms(self, program, form, what):
        return self.timed.get((program, form, what), {}).get("median_ms")

    def torch(self, form, what):
        """PyTorch's better time."""
        both = [self.ms(program, form, what) for program in ["compiled", "eager"]]
        return min((ms for ms in both if ms is not None), default=None)

    def rate(self, what, key):
        """One of the card's rates by PyTorch."""
        return self.timed.get(("eager", None, what), {}).get(key)

    def product(self):
        """The rate of a large product by simattn in bfloat16, in GFLOP/s."""
        rates = [
            row.get("sgemm_gflops", 0)
            for (program, _, _), row in self.timed.items()
            if program == "simattn" and row.get("dtype") == "bf16"
        ]
        return max(rates, default=0) or None

    def memory(self, form, what):
        """MiB that the card's memory grew by, of ours."""
        row = self.timed.get(("simattn", form, what), {})
        if "device_mib_most" not in row:
            return None
        return row["device_mib_most"] - row["device_mib_before"]


def ratio(over, under):
    return over / under if over is not None and under else None


def number(value, form=".3g", unit=""):
    return "–" if value is None else f"{value:{form}}{unit}"


def lines(head, rows):
    parts = [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in [head, *rows]]
    parts.insert(1, "|".join(["---"] * len(head)))
    return [f"| {parts[0]} |", f"|{parts[1]}|", *(f"| {part} |" for part in parts[2:])]


def goals(m):
    """A row for each goal: what, ours, PyTorch's, their ratio, at least, aim, verdict."""

    def faster(what, form, work, least, aim):
        ours, theirs = m.ms("simattn", form, work), m.torch(form, work)
        found = ratio(theirs, ours)
        return row(
            what, number(ours, ".4g", " ms"), number(theirs, ".4g", " ms"), found, least, aim
        )

    def row(what, ours, theirs, found, least, aim, smaller=False):
        sign = "≤ " if smaller else "≥ "
        good = lambda bound: found <= bound if smaller else found >= bound
        verdict = "not measured"
        if found is not None:
            verdict = "aim" if good(aim) else "pass" if good(least) else "**no**"
        return [what, ours, theirs, number(found), f"{sign}{least}", f"{sign}{aim}", verdict]

    def over_mha(what, form, least, aim):
        ours, theirs = m.ms("simattn", form, STEP), m.ms("compiled", "mha", STEP)
        shown = number(ours, ".4g", " ms"), number(theirs, ".4g", " ms")
        return row(what, *shown, ratio(ours, theirs), least, aim, smaller=True)

    product, best = m.product(), m.rate("product", "gflops")
    ours, theirs = m.memory("sas", STEP), m.timed.get(("compiled", "sas", STEP), {}).get("peak_mib")
    return [
        faster("SAS layer, forward and backward", "sas", LAYER, 2, 3.5),
        faster("MHA layer, forward and backward", "mha", LAYER, 0.6, 1),
        over_mha("step of heads-only SAS over PyTorch's compiled MHA step", "heads-only", 2, 1.33),
        faster("SAS step", "sas", STEP, 1.8, 2.5),
        faster("MHA step", "mha", STEP, 0.7, 1),
        over_mha("SAS step over PyTorch's compiled MHA step", "sas", 3, 2.2),
        row(
            "large product, over PyTorch's",
            number(product and product / 1e3, ".4g", " TFLOP/s"),
            number(best and best / 1e3, ".4g", " TFLOP/s"),
            ratio(product, best),
            0.5,
            0.8,
        ),
        row(
            "peak memory of the SAS step, over PyTorch's",
            number(ours, ".0f", " MiB"),
            number(theirs, ".0f", " MiB"),
            ratio(ours, theirs),
            0.5,
            0.333,
            smaller=True,
        ),
    ]


def suites(m):
    """Passed, failed and unfinished tests of each suite."""
    found = {}
    for step in m.steps:
        suite = step["about"].get("suite")
        if suite is None:
            continue
        here = found.setdefault(
            suite, {"ok": 0, "ignored": 0, "bad": [], "open": [], "seconds": 0.0}
        )
        here["seconds"] = max(here["seconds"], step.get("seconds", 0.0))
        name, outcomes = step["about"]["test"], step.get("tests", {})
        for test, outcome in outcomes.items():
            if outcome == "FAILED":
                said = step.get("said", {}).get(test, "")
                here["bad"].append(f"{test}: {said}")
            elif outcome is None:
                # It crashed, or was still running when its limit was over.
                kind = "open" if step["ended"] == "killed" else "bad"
                here[kind].append(f"{test}: {step['why'] or 'did not say how it ended'}")
            else:
                here[outcome] += 1
        if not outcomes:
            here["open"].append(f"{name or 'all'}: {step['why'] or 'no such test'}")
        elif name is None and step["ended"] != "finished" and not here["bad"] and not here["open"]:
            here["open"].append(f"the rest: {step['why']}")
    return [
        [
            suite,
            here["ok"],
            len(here["bad"]),
            len(here["open"]),
            f"{here['seconds']:.0f} s",
            "; ".join(here["bad"] + here["open"]),
        ]
        for suite, here in found.items()
    ]


def times(m):
    """Every measurement of ours and of PyTorch's, by work and form."""
    whats = ["layer forward", LAYER, STEP]
    rows = []
    for what in whats:
        for form in ["sas", "heads-only", "mha"]:
            all_ms = [m.ms(program, form, what) for program in ["simattn", "compiled", "eager"]]
            if all(ms is None for ms in all_ms):
                continue
            ours = m.timed.get(("simattn", form, what), {})
            theirs = m.timed.get(("compiled", form, what)) or m.timed.get(("eager", form, what), {})
            rows.append(
                [
                    f"{what}, {form}",
                    *(number(ms, ".4g") for ms in all_ms),
                    number(ratio(m.torch(form, what), all_ms[0])),
                    number(ours.get("tokens_per_s"), ",.0f"),
                    number(ours.get("percent_of_sgemm"), ".1f"),
                    number(m.memory(form, what), ",.0f"),
                    number(theirs.get("peak_mib"), ",.0f"),
                ]
            )
    return rows


def others(m):
    """What was measured in another way than usual, beside the usual one."""
    rows = []
    for step in m.steps:
        other, found = step["about"].get("other"), step.get("rows", [])
        if not other or not found:
            continue
        form, last = step["about"]["form"], found[-1]
        usual = m.ms("simattn", form, last["what"])
        rows.append(
            [
                f"{last['what']}, {form}",
                other,
                number(last.get("median_ms"), ".4g"),
                number(usual, ".4g"),
                number(ratio(last.get("median_ms"), usual)),
            ]
        )
    return rows


def kernels(step, m):
    """A logged pass, kernel by kernel, with shares of the card's rates."""
    best, copy = m.rate("product", "gflops") or m.product(), m.rate("copy", "gb_per_s")
    # A row of several that have their own counts once.
    once = [kernel for kernel in step["kernels"] if not kernel.get("again")]
    again = [kernel for kernel in step["kernels"] if kernel.get("again")]
    rows, total = [], sum(kernel["ms"] for kernel in once)
    for kernel in once[:40] + again:
        seconds = kernel["ms"] / 1e3
        done = kernel.get("operations") or None
        moved = kernel.get("bytes")
        flops, speed = done and ratio(done / 1e9, seconds), moved and ratio(moved / 1e9, seconds)
        of_best, of_copy = ratio(flops, best), ratio(speed, copy)
        rows.append(
            [
                kernel["kernel"],
                kernel["calls"],
                kernel["forms"],
                f"{kernel['ms']:.3f}",
                f"{100 * kernel['ms'] / total:.1f}" if total else "–",
                number(done and done / 1e9, ",.1f"),
                number(flops and flops / 1e3, ".3g"),
                number(of_best and 100 * of_best, ".1f"),
                number(moved and moved / 1e9, ".3g"),
                number(of_copy and 100 * of_copy, ".1f"),
            ]
        )
    rows.append(["all", sum(k["calls"] for k in once), "", f"{total:.3f}"] + [""] * 6)
    return rows


def training(m):
    """Tokens a second, loss and MFU of each run."""
    rows = []
    for step in m.steps:
        run, form = step.get("training"), step["about"].get("form")
        if not run or not run.get("tokens_per_s"):
            continue
        operations = training_per_token(run["parameters"] or 0, PRESET.of(form), PRESET_LAYERS)
        reached = m.product() and run["tokens_per_s"] * operations / (m.product() * 1e9)
        by_definition = run.get("mfu_by_definition")
        rows.append(
            [
                form,
                run["steps"],
                f"{run['tokens_per_s']:,.0f}",
                f"{run['loss']:.4f}",
                number(reached and 100 * reached, ".2f"),
                number(by_definition and 100 * by_definition, ".2f"),
            ]
        )
    return rows


def losses(m):
    """One line on the losses in bfloat16 beside those in float32 on a CPU; None without both."""
    by_name = {step["name"]: step for step in m.steps}
    exact = m.losses or by_name.get("losses-on-cpu", {}).get("losses")
    found = by_name.get("learn-sas", {}).get("training", {}).get("losses")
    if not exact or not found:
        return None
    pairs = list(zip(reading.means(exact), reading.means(found)))[:COMPARED]
    if len(pairs) < COMPARED:
        return f"Losses beside the CPU's: {len(pairs)} means of 20 steps, {COMPARED} are needed."
    worst = max(abs(one - other) for one, other in pairs)
    verdict = "pass" if worst <= LOSSES_APART else "**no**"
    return (
        f"Losses in bfloat16 beside float32 on the CPU, {20 * len(pairs)} steps: means of 20 steps "
        f"differ by at most {worst:.4f} nats ({LOSSES_APART} allowed): {verdict}."
    )


def page(everything, packed_losses=None):
    """The whole page."""
    m = Measured(everything, packed_losses)
    out = [f"# {m.head['title']}", ""]
    out += lines(["goal", "simattn", "PyTorch", "ratio", "at least", "aim", "verdict"], goals(m))
    about_losses = losses(m)
    out += ["", *([about_losses, ""] if about_losses else [])]
    parts = [
        (
            "Tests",
            ["suite", "passed", "failed", "open", "longest", "what failed or is open"],
            suites(m),
        ),
        (
            "Times in ms, memory in MiB",
            "work|simattn|compiled|eager|PyTorch / simattn|tokens/s|% of product|card's memory"
            "|PyTorch's allocator".split("|"),
            times(m),
        ),
        (
            "Other ways, in ms",
            ["work", "way", "ms", "usual", "over the usual"],
            others(m),
        ),
        (
            "Training the 10M preset",
            [
                "form",
                "steps",
                "tokens/s",
                "loss",
                "MFU, 6·N + attention, %",
                "MFU by definition, %",
            ],
            training(m),
        ),
    ]
    for step in m.steps:
        if step.get("kernels"):
            what = "one pass" if step.get("one_pass") else "the whole process, checks included"
            parts.append(
                (
                    f"Launches of {step['about']['work']} {step['about']['form']}, {what}",
                    "kernel|calls|forms|ms|%|GFLOP|TFLOP/s|% of product|GB|% of copy".split("|"),
                    kernels(step, m),
                )
            )
    not_done = [
        [step["name"], step["ended"], step["why"], number(step.get("seconds"), ".1f")]
        for step in m.steps
        if step["ended"] != "finished" and "suite" not in step["about"]
    ]
    parts.append(("Steps that did not finish", ["step", "ended", "why", "seconds"], not_done))
    for title, head, rows in parts:
        if rows:
            out += [f"## {title}", "", *lines(head, rows), ""]
    return "\n".join(out)
