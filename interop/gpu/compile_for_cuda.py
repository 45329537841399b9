"""Compiles every GPU kernel for CUDA on a machine without a GPU, and prints what each needs as a table in Markdown.

    python interop/gpu/compile_for_cuda.py [--cuda FOLDER] [--nvrtc FILE] [--ptxas FILE] [--capability 90] [--keep FOLDER]
                                           [--skip-build] [--only NAME]...

Launches all kernels (crates/simattn-kernels/examples/launch_kernels/) on a driver that runs nothing (compile_only_cuda/): NVRTC
compiles each to PTX, and ptxas to machine code, which says its registers, spilled bytes and shared memory. Nothing is said of
results or of speed. NVRTC, ptxas and CUDA's headers come from --cuda, a toolkit, or from the Python environment that runs this:

    pip install nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cuda-cccl nvidia-cuda-nvcc

Exits with 1 if a kernel did not compile or was never launched, with 2 if a tool is missing.
"""

import argparse
import collections
import concurrent.futures
import ctypes
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GPU = ROOT / "interop" / "gpu"
KERNELS = ROOT / "crates" / "simattn-kernels" / "src" / "cube"
TYPES = ["f32", "bf16", "f16"]
# The operations with kernels for NVIDIA's tensor cores beside portable ones that need a look of their own.
PORTABLE = ["attention", "simulated attention"]

Needs = collections.namedtuple("Needs", "registers spilled shared")


class Missing(Exception):
    """What has to be there and is not; one line."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuda", type=pathlib.Path, help="a CUDA toolkit, such as /usr/local/cuda")
    parser.add_argument("--nvrtc", type=pathlib.Path, help="libnvrtc.so.VERSION")
    parser.add_argument("--ptxas", type=pathlib.Path)
    parser.add_argument("--capability", type=int, default=90, help="compute capability, 80 or more: 90 is 9.0")
    parser.add_argument("--keep", type=pathlib.Path, help="an empty or new folder for the kernels' PTX")
    parser.add_argument("--skip-build", action="store_true", help="take the program that is there")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="an operation such as attention, or a type such as bf16")
    parser.add_argument("--tensor-cores", action="store_true", help="leave out what is portable where there is a kernel beside it")
    options = parser.parse_args()
    if options.capability < 80:
        parser.error("--capability: 80 or more")
    return options


def find(given, roots, patterns, what):
    """The file that was given, or the first in `roots` that a pattern names."""
    found = [path for root in roots for pattern in patterns for path in sorted(root.glob(pattern))]
    path = given or next(iter(found), None)
    if path is None:
        raise Missing(f"no {what}: name it, or a toolkit with --cuda, or see --help for the packages that have it")
    if not path.is_file():
        raise Missing(f"no {what} at {path}")
    return path.absolute()


def tools(options):
    """NVRTC, ptxas, and the folder above CUDA's headers."""
    package = importlib.util.find_spec("nvidia")
    installed = package.submodule_search_locations if package else []
    # Packages for CUDA 13 share one folder, which is laid out like a toolkit.
    roots = [options.cuda] if options.cuda else [path for at in installed for path in pathlib.Path(at).glob("cu*")]
    nvrtc = find(options.nvrtc, roots, ["lib64/libnvrtc.so.*", "lib/libnvrtc.so.*"], "NVRTC")
    ptxas = find(options.ptxas, roots, ["bin/ptxas"], "ptxas")
    header = find(None, roots, ["include/mma.h"], "headers of CUDA")
    if not (header.parent / "crt" / "mma.h").is_file():
        raise Missing(f"{header.parent} has no crt/mma.h, which mma.h includes")
    return nvrtc, ptxas, header.parents[1]


def run(command, **more):
    try:
        return subprocess.run([str(word) for word in command], text=True, **more)
    except FileNotFoundError:
        raise Missing(f"no {command[0]} here") from None


def build():
    """The program that launches all kernels, over the dependencies of the binary's build."""
    stand_in = f'patch.crates-io.cubecl-llvm.path="{GPU / "cubecl-llvm"}"'
    packages = ["-p", "simattn-cli", "-p", "simattn-kernels", "--example", "launch_kernels"]
    run(["cargo", "build", "--release", "--no-default-features", "--features", "cuda-nvrtc", "--config", stand_in, *packages], cwd=ROOT, check=True)


def launch(options, nvrtc, cuda, libraries, kernels):
    """Launches all kernels, whose PTX goes to `kernels`; whether every one compiled."""
    source = GPU / "compile_only_cuda" / "libcuda.c"
    run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O2", "-o", libraries / "libcuda.so", source], check=True)
    # Under the name that is looked for first, so that no other version is found.
    (libraries / "libnvrtc.so").symlink_to(nvrtc)
    environment = dict(
        os.environ,
        LD_LIBRARY_PATH=f"{libraries}:{nvrtc.parent}",
        CUDA_PATH=str(cuda),
        COMPILED_KERNELS=str(kernels),
        COMPUTE_CAPABILITY=str(options.capability),
        SIMATTN_REQUIRE_GPU="1",
    )
    program = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "examples" / "launch_kernels"
    launches = [("", options.only)]
    portable = [name for name in PORTABLE if not options.only or name in options.only]
    if not options.tensor_cores and portable:
        launches.append(("portable", [*portable, *(name for name in options.only if name in TYPES)]))
    fine = True
    for units, names in launches:
        code = run([program, *names], env=environment | {"SIMATTN_MATRIX_UNITS": units}, stdout=sys.stderr).returncode
        if code:
            print(f"compile_for_cuda: launch_kernels {' '.join(names)} ended with {code}", file=sys.stderr)
        fine &= code == 0
    return fine


def needs(ptxas, path):
    """What ptxas says of a kernel, or why it refused."""
    ptx = path.read_text()
    target = re.search(r"^\.target (\w+)", ptx, re.M).group(1)
    done = run([ptxas, f"-arch={target}", "-v", "-o", os.devnull, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # C75xx: products that ptxas puts one after another, whatever their order in the kernel.
    if done.returncode or re.search(r"\bC75\d\d\b", done.stdout):
        return done.stdout.strip()
    number = lambda pattern, text: sum(int(found) for found in re.findall(pattern, text))
    return Needs(
        number(r"Used (\d+) registers", done.stdout),
        number(r"(\d+) bytes spill (?:stores|loads)", done.stdout),
        number(r"(\d+) bytes smem", done.stdout) + number(r"(\d+) bytes of dynamic shared memory", ptx),
    )


def parted(name):
    """A kernel's name without its types and its hash, and the narrowest of its float types."""
    name = re.sub(r"_[0-9a-f]{8}$", "", name)
    base = re.match(r"(.+?)(?:_[a-z0-9]+_(?:bf16|[fiu](?:8|16|32|64))(?:_|$)|$)", name).group(1)
    kinds = set(name[len(base):].split("_"))
    return base, next((kind for kind in ["bf16", "f16", "f32"] if kind in kinds), "")


def table(compiled, ours):
    """A row for each kernel; the largest of all its forms, by float type where they differ."""
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    for name, found in compiled.items():
        base, kind = parted(name)
        rows[base][kind].append(found)
    lines = ["| kernel | forms | registers | spilled, bytes | shared memory, bytes |", "|---|---|---|---|---|"]
    for base in sorted(rows, key=lambda base: (base not in ours, base)):
        by_type = [rows[base][kind] for kind in TYPES]
        everything = [found for forms in rows[base].values() for found in forms]
        if sum(map(len, by_type)) < len(everything):  # Some form has no float type.
            by_type = [everything]
        cells = []
        for column in range(len(Needs._fields)):
            largest = [str(max((found[column] for found in forms), default="–")) for forms in by_type]
            cells.append(largest[0] if len(set(largest)) == 1 else " / ".join(largest))
        lines.append(f"| {base if base in ours else f'({base})'} | {len(everything)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def version(nvrtc):
    major, minor = ctypes.c_int(), ctypes.c_int()
    ctypes.CDLL(str(nvrtc)).nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def compile_all(options, libraries, kernels):
    """Prints the table; whether all kernels compiled."""
    nvrtc, ptxas, cuda = tools(options)
    if not options.skip_build:
        build()
    fine = launch(options, nvrtc, cuda, libraries, kernels)
    paths = sorted(kernels.glob("*.ptx"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip((path.stem for path in paths), pool.map(lambda path: needs(ptxas, path), paths)))
    refused = {name: why for name, why in found.items() if isinstance(why, str)}
    for name, why in refused.items():
        print(f"compile_for_cuda: ptxas refuses {name}: {why}", file=sys.stderr)
    compiled = {name: what for name, what in found.items() if name not in refused}
    source = "\n".join(path.read_text() for path in KERNELS.rglob("*.rs"))
    kernel = r"#\[cube\(launch[^\]]*\)\](?:\s*#\[[^\]]*\])*\s*(?:pub(?:\([^)]*\))? )?fn (\w+)"
    ours = collections.Counter(re.findall(kernel, source))
    never = [] if options.only or options.tensor_cores else sorted(set(ours) - {parted(name)[0] for name in compiled})
    for name in never:
        print(f"compile_for_cuda: {name} was not compiled", file=sys.stderr)
    print(
        f"NVRTC {version(nvrtc)}, compute capability {options.capability / 10}, {len(compiled)} forms of kernels. The largest need "
        f"of a kernel's forms, in float32 / bfloat16 / float16 where they differ; kernels in brackets are Burn's.\n"
    )
    print(table(compiled, ours))
    shared = sorted(name for name, count in ours.items() if count > 1)
    if shared:
        print(f"\nTwo kernels have one name, and so one row: {', '.join(shared)}.")
    return fine and not refused and not never


def main():
    options = arguments()
    try:
        with tempfile.TemporaryDirectory() as libraries, tempfile.TemporaryDirectory() as temporary:
            kernels = (options.keep or pathlib.Path(temporary)).resolve()
            kernels.mkdir(parents=True, exist_ok=True)
            if any(kernels.iterdir()):
                raise Missing(f"{kernels} is not empty")
            return 0 if compile_all(options, pathlib.Path(libraries), kernels) else 1
    except Missing as error:
        print(f"compile_for_cuda: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"compile_for_cuda: {error.cmd[0]} ended with {error.returncode}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
