"""Builds simattn for a GPU, checks its kernels there, times them, and prints a table in Markdown.

    python interop/gpu/measure.py [--features cuda] [--device cuda] [--batch B] [--seq T] [--layers L] [--dtype f32|bf16]
                                  [--python PYTHON --peer FILE] [--quick] [--without-llvm] [--skip-build] [--out FILE]
    python interop/gpu/measure.py --packed FOLDER_OR_ARCHIVE --minutes 9 --out FOLDER [--device cuda] [--python PYTHON] [--only NAME,…]
                                  [--quick]

One call on the machine with the GPU, from anywhere. In order: the release build with the given Cargo features; the tests of the
GPU kernels, which fail where no GPU is found; `simattn info --machine`; a layer and a training step of SAS and of MHA, each
checked against the definitions before it is timed. With --python and --peer every measurement alternates with the PyTorch
program's (see `simattn bench --against-torch`), and the table says how often our time that takes. --quick takes small sizes, to
try the script on a slow device. Standard library alone. Exits with 1 where a step fails; what was measured before is printed.

With --packed the machine needs neither Rust nor a network: pack.sh has built everything elsewhere. Every step has a time limit,
after which it is killed with all that it started, and all steps keep to --minutes, the important ones first. What each gave is in
the folder at once: results.json, table.md with the goals and everything measured, and each step's output. The same call goes on
with what did not finish; --only names steps, such as 'layer-*,torch-layer-*'. PyTorch is compared with where --python, by default
the Python that runs this, has it.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TESTS = ["cube_attention", "cube_sas_attention", "cube_step_ops", "cube_losses", "cube_optimizer", "cube_half"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", default="cuda", help="Cargo features, such as cuda or vulkan")
    parser.add_argument("--device", help="what --device of simattn gets; the first of the features where left out")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seq", type=int, default=1024)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16", help="the float type of a pass")
    parser.add_argument("--layers", type=int, default=12, help="blocks of the decoder that is trained")
    parser.add_argument("--iters", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program in a comparison")
    parser.add_argument("--python", help="a Python with PyTorch, to compare with")
    parser.add_argument("--peer", help="the PyTorch program to compare with")
    parser.add_argument("--quick", action="store_true", help="small sizes, one run each")
    parser.add_argument("--without-llvm", action="store_true", help="build cuda through NVRTC alone; see docs/gpu.md")
    parser.add_argument("--skip-build", action="store_true", help="take the binary that is there, and skip the tests")
    parser.add_argument("--out", help="also append the table to this file; with --packed the folder of the results")
    parser.add_argument("--packed", type=pathlib.Path, help="what pack.sh made")
    parser.add_argument("--minutes", type=float, default=9, help="the time for everything, with --packed")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="these steps, with --packed; * for any letters")
    options = parser.parse_args()
    if options.packed:
        if not options.out:
            parser.error("--packed needs --out, a folder")
        if not options.minutes > 0:
            parser.error("--minutes: more than 0")
        options.device = options.device or "cuda"
        options.out = pathlib.Path(options.out)
        return options
    if (options.python is None) != (options.peer is None):
        parser.error("--python and --peer go together")
    if options.quick:
        options.batch, options.seq, options.layers, options.iters = 1, 64, 1, 1
    options.device = options.device or options.features.split(",")[0]
    return options


def stage(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def build(options):
    stage(f"build with {options.features}")
    features = ["--release", "--features", options.features]
    if options.without_llvm:
        stand_in = ROOT / "interop" / "gpu" / "cubecl-llvm"
        features += ["--features", "cuda-nvrtc", "--config", f'patch.crates-io.cubecl-llvm.path="{stand_in}"']
    else:
        features.append("--locked")
    subprocess.run(["cargo", "build", "-p", "simattn-cli", *features], cwd=ROOT, check=True)
    stage("kernel tests")
    tests = [word for test in TESTS for word in ("--test", test)]
    environment = dict(os.environ, SIMATTN_REQUIRE_GPU="1")
    subprocess.run(
        ["cargo", "test", "-p", "simattn-kernels", *features, *tests, "--", "--test-threads", "1", "--nocapture"],
        cwd=ROOT, check=True, env=environment, stdout=sys.stderr,
    )


def lines_of(command):
    stage(" ".join(command[1:]))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def measure(binary, options):
    """Rows of the table, or comparisons where a peer is given."""
    rows = []
    for work in ["layer", "train"]:
        for variant in ["sas", "mha"]:
            command = [str(binary), "bench", work, "--variant", variant, "--device", options.device]
            command += ["--batch", str(options.batch), "--seq", str(options.seq), "--iters", str(options.iters)]
            command += ["--dtype", options.dtype, "--layers", str(options.layers), "--threads", str(os.cpu_count() or 1)]
            if options.peer:
                command += ["--against-torch", options.python, "--peer", options.peer, "--rounds", str(options.rounds)]
            rows += [json.loads(line) for line in lines_of(command) if line.startswith("{")]
    return rows


def table(rows):
    """One column for every key that any row has, in the order in which they come."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    shown = lambda value: "" if value is None else str(value)
    lines = ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    lines += ["| " + " | ".join(shown(row.get(key)) for key in keys) + " |" for row in rows]
    return "\n".join(lines)


def main():
    options = arguments()
    if options.packed:
        from packed import call  # The rest works without that folder.

        sys.exit(call.main(options))
    if not options.skip_build:
        build(options)
    binary = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "simattn"
    machine = lines_of([str(binary), "info", "--machine"])
    rows = measure(binary, options)
    head = [
        f"{datetime.date.today()}, --device {options.device}, features {options.features}, "
        f"{options.batch} × {options.seq} tokens, {options.layers} blocks, {options.dtype}",
        "",
        *(f"    {line}" for line in machine),
        "",
    ]
    text = "\n".join(head) + table(rows) + "\n"
    print(text)
    if options.out:
        with open(options.out, "a", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"measure: {error.cmd[0]} ended with {error.returncode}")
