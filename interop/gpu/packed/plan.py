"""Which steps there are, in the order of what they decide."""

import dataclasses
import fnmatch
import os
import pathlib
import shutil
import subprocess

from . import operations, reading
from .operations import Sizes
from .runner import Step

FORMS = {
    "sas": ["--variant", "sas"],
    "heads-only": ["--variant", "sas", "--heads-only"],
    "mha": ["--variant", "mha"],
}
# Runs before the timed ones, and timed ones, where launches are logged.
LOGGED = (1, 3)
# Steps of training that compile kernels, and those that are held against the CPU's.
STARTING, COMPARED = 50, 200


@dataclasses.dataclass
class Setting:
    """What the steps are made from."""

    package: object
    scratch: pathlib.Path
    device: str
    python: str
    cuda: dict
    quick: bool
    only: list

    def sizes(self, work):
        layers = 12 if work == "train" else 0
        if not self.quick:
            return Sizes(32, 1024, layers=layers)
        return Sizes(1, 32, layers=min(layers, 1), vocab=512)

    @property
    def repetitions(self):
        return (1, 1) if self.quick else (2, 10)

    @property
    def suites_limit(self):
        return 30 if self.quick else 150

    @property
    def training_seconds(self):
        return 4 if self.quick else 60


@dataclasses.dataclass
class Plan:
    """First steps alone, then lanes side by side, then steps alone."""

    before: list
    lanes: list
    after: list

    def __post_init__(self):
        # The same however few of them are kept: folders have these numbers.
        steps = [*self.before, *(step for lane in self.lanes for step in lane), *self.after]
        self.numbers = {step.name: number for number, step in enumerate(steps)}

    def keep(self, patterns):
        """Leaves what the patterns name."""
        named = lambda step: any(fnmatch.fnmatchcase(step.name, each) for each in patterns)
        wanted = lambda steps: [step for step in steps if named(step)]
        self.before, self.after = wanted(self.before), wanted(self.after)
        self.lanes = [lane for lane in map(wanted, self.lanes) if lane]


def make(setting):
    """The plan."""
    forms = ["sas", "heads-only", "mha"]
    peer = setting.package.part("peer")
    layers = [bench(setting, "layer", form) for form in forms]
    train = [bench(setting, "train", form) for form in ["heads-only", "mha", "sas"]]
    torch = lambda work, forms, compiled: [
        of_torch(setting, work, form, compiled) for form in forms if peer
    ]
    logged = lambda work, forms: [launches(setting, work, form) for form in forms]
    learned = [learn(setting, form) for form in ["sas", "mha"]]
    before = [
        Step(
            "machine", [setting.package.program, "info", "--machine"], 30, environment=setting.cuda
        )
    ]
    if peer:
        before.append(rates(setting))
    torch_layers = torch("layer", ["sas", "mha", "heads-only"], True)
    torch_train = torch("train", ["mha", "sas", "heads-only"], True)
    # First in the row, as they take longest; steps of training not beside each other, for memory.
    lanes = [torch_train, torch_layers, train, layers]
    warming = [[warm(setting, step) for step in lane] for lane in lanes if lane]
    after = [
        *layers,
        *torch_layers,
        *train,
        *torch_train,
        *logged("layer", ["sas"]),
        *learned,
        *logged("train", ["heads-only"]),
        *logged("layer", ["heads-only", "mha"]),
        *others(setting),
        *torch("layer", forms, False),
        *torch("train", ["mha", "heads-only", "sas"], False),
    ]
    if setting.package.part("losses") is None:
        after.append(losses_on_cpu(setting))
    plan = Plan(before, warming + suites(setting), after)
    if setting.only:
        plan.keep(setting.only)
    return plan


def suites(setting):
    """A lane for every test, so that one that hangs hides no other; the whole suite where it does
    not say which tests it has."""
    environment = setting.cuda | {"SIMATTN_REQUIRE_GPU": "1"}
    lanes = []
    for suite, program in setting.package.suites.items():
        try:
            done = subprocess.run(
                [program, "--list", "--format", "terse"],
                env=os.environ | environment,
                capture_output=True,
                text=True,
                timeout=15,
            )
            names = [
                line[: -len(": test")]
                for line in done.stdout.splitlines()
                if line.endswith(": test")
            ]
        except (OSError, subprocess.TimeoutExpired):
            names = []
        for name in names or [None]:
            chosen = ["--exact", name] if name else []
            step = Step(
                f"suite-{suite}" + (f"-{name.replace('::', '.')}" if name else ""),
                [program, *chosen, "--test-threads", "1"],
                setting.suites_limit,
                about={"suite": suite, "test": name},
                environment=environment,
                read=reading.tests,
            )
            lanes.append([step])
    return lanes


def words_of(setting, work, form, repetitions):
    """The options that simattn bench and the PyTorch program share."""
    sizes = setting.sizes(work)
    numbers = {
        "batch": sizes.batch,
        "seq": sizes.seq,
        "warmup": repetitions[0],
        "iters": repetitions[1],
        "threads": os.cpu_count() or 1,
    }
    if work == "train":
        numbers |= {"layers": sizes.layers, "vocab": sizes.vocab}
    words = [work, *FORMS[form], "--dtype", "bf16"]
    for name, number in numbers.items():
        words += [f"--{name}", str(number)]
    return words


def bench(setting, work, form, repetitions=None):
    """A layer or a training step of simattn."""
    words = words_of(setting, work, form, repetitions or setting.repetitions)
    return Step(
        f"{work}-{form}",
        [setting.package.program, "bench", *words, "--device", setting.device],
        {"layer": 60, "train": 90}[work],
        least=20,
        about={"program": "simattn", "work": work, "form": form},
        environment=setting.cuda,
        read=reading.rows,
    )


def others(setting):
    """The same work in other ways, to see what each is worth: without wgmma, on the portable
    kernels, and with more kept for backward."""
    ways = [
        ("layer", "sas", "mma", [], "mma"),
        ("layer", "mha", "mma", [], "mma"),
        ("layer", "sas", "portable", [], "portable"),
        ("train", "sas", "keeping-outputs", ["--recompute", "expansions"], ""),
        ("train", "sas", "keeping-all", ["--recompute", "nothing"], ""),
    ]
    steps = []
    for work, form, name, words, units in ways:
        step = bench(setting, work, form)
        steps.append(
            dataclasses.replace(
                step,
                name=f"{step.name}-{name}",
                command=[*step.command, *words],
                about=step.about | {"other": name},
                environment=step.environment | ({"SIMATTN_MATRIX_UNITS": units} if units else {}),
            )
        )
    return steps


def of_torch(setting, work, form, compiled):
    """The same in PyTorch."""
    words = words_of(setting, work, form, setting.repetitions)
    words += ["--device", setting.device.split(":")[0]] + (["--compile"] if compiled else [])
    limits = {("layer", True): 60, ("train", True): 100, ("layer", False): 40, ("train", False): 60}
    return Step(
        f"torch-{work}-{form}" + ("-compiled" if compiled else ""),
        [setting.python, setting.package.part("peer"), *words],
        limits[work, compiled],
        least=20,
        about={"program": "torch", "work": work, "form": form, "compiled": compiled},
        environment={
            "TORCHINDUCTOR_CACHE_DIR": str(setting.scratch / "inductor"),
            "TRITON_CACHE_DIR": str(setting.scratch / "triton"),
        },
        read=reading.rows,
        needs=("torch",),
    )


def rates(setting):
    """Whether there is a PyTorch, and the card's rates by it."""
    script = pathlib.Path(__file__).with_name("card_rates.py")
    size = ["256"] if setting.quick else []
    return Step(
        "torch",
        [setting.python, script, setting.device.split(":")[0], *size],
        60,
        least=20,
        about={"program": "torch", "work": "rates"},
        read=reading.rows,
    )


def warm(setting, step):
    """Runs `step` once for what it compiles: caches of PyTorch and of the driver are kept."""
    command = list(step.command)
    for name, number in {"--iters": "1", "--warmup": "1"}.items():
        command[command.index(name) + 1] = number
    if "bench" in command and "--layers" in command:
        # One block has all kernels that twelve have.
        command[command.index("--layers") + 1] = "1"
    return dataclasses.replace(
        step,
        name=f"warm-{step.name}",
        command=command,
        limit=setting.suites_limit,
        about={"warm": step.name},
        read=lambda folder: {},
    )


def launches(setting, work, form):
    """Every launch's time, by the device's own clock."""
    step = bench(setting, work, form, LOGGED)
    name = f"launches-{work}-{form}"
    config = '[profiling]\nlogger = { level = "medium", file = "launches.log" }\n'

    def read(folder):
        found = reading.rows(folder)
        log = reading.launches(folder / "launches.log")
        one = reading.one_pass(log, sum(LOGGED))
        kernels = reading.by_kernel(log if one is None else one)
        rows = found["rows"]
        sizes = dataclasses.replace(
            setting.sizes(work).of(form), parameters=(rows or [{}])[-1].get("parameters", 0)
        )
        # Without a repetition in the log, calls are of checks and warm-up too.
        if one is not None:
            operations.add(kernels, sizes)
        return found | {"kernels": kernels, "launches": len(log), "one_pass": one is not None}

    about = step.about | {"logged": True}
    files = {"cubecl.toml": config}
    return dataclasses.replace(step, name=name, files=files, about=about, read=read)


def training_command(setting, form, folder, device):
    config = setting.package.folder / "configs" / f"{form}-10m.toml"
    tokens = setting.package.part("tokens")
    data = ["--data", tokens] if tokens else []
    small = ["--batch", "1", "--context", "32"] if setting.quick else []
    for field in ["model.layers=1", "train.evaluation_batches=1"] if setting.quick else []:
        small += ["--set", field]
    command = [setting.package.program, "train", config, *data, *small]
    return [*command, "--out", folder, "--device", device]


def keep_metrics(run, folder):
    """Copies a run's metrics to the step's folder: its weights and checkpoints are not kept."""
    kept = folder / "metrics.jsonl"
    if (run / "metrics.jsonl").exists():
        shutil.copyfile(run / "metrics.jsonl", kept)
    return kept


def learn(setting, form):
    """Training on real tokens for a fixed time, in bfloat16."""
    folder = setting.scratch / f"learn-{form}"
    command = training_command(setting, form, folder, setting.device)
    command += ["--steps", "1000000", "--set", "train.precision=bfloat16"]
    skip = 1 if setting.quick else STARTING

    def enough(left):
        steps = reading.steps_of(folder / "metrics.jsonl")
        over = steps and steps[-1]["seconds"] - steps[min(skip, len(steps) - 1)]["seconds"]
        # It saves before it ends, which takes a moment.
        return left < 8 or (len(steps) > skip and over >= setting.training_seconds)

    def read(kept):
        metrics = keep_metrics(folder, kept)
        return {"training": reading.training(metrics, reading.text(kept / "stderr"), skip)}

    return Step(
        f"learn-{form}",
        command,
        setting.training_seconds + 50,
        least=30,
        about={"program": "simattn", "work": "learn", "form": form},
        environment=setting.cuda,
        read=read,
        enough=enough,
    )


def losses_on_cpu(setting):
    """The first steps of the same training in float32 on the CPU."""
    folder = setting.scratch / "losses-on-cpu"
    command = training_command(setting, "sas", folder, "cpu")
    command += ["--steps", str(4 if setting.quick else COMPARED)]

    def read(kept):
        steps = reading.steps_of(keep_metrics(folder, kept))
        return {"losses": [step["loss"] for step in steps]}

    about = {"program": "simattn", "work": "losses"}
    return Step("losses-on-cpu", command, 300, least=30, about=about, read=read)
