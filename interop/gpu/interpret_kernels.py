"""Runs tests of the GPU kernels as compiled for CUDA on a machine without a GPU, by interpreting their PTX.

    python interop/gpu/interpret_kernels.py [--test cube_attention] [--filter half_precision_of] [--cuda FOLDER] [--nvrtc FILE]
                                            [--ptxas FILE] [--capability 90]

The tests launch their kernels on the stand-in for the driver (compile_only_cuda/), which here is linked with an interpreter
(interpret_ptx/). What NVRTC made of a kernel is run thread by thread on the CPU, so that values and gradients are compared with
the definition as on a card: lanes, addresses, masks, tails. Copies are made when they are ordered and barriers are exact, so races
stay unseen, and nothing is said of speed. It knows the instructions of the kernels for tensor cores and of what Burn launches around
them, not `wmma`. Tools are found as in compile_for_cuda.py; a C and a C++ compiler are needed. Exits with the tests' code.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import compile_for_cuda as compiling


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", default="cube_attention", help="a test file of simattn-kernels")
    parser.add_argument("--filter", default="half_precision_of", help="which of its tests")
    for name in ["--cuda", "--nvrtc", "--ptxas"]:
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--capability", type=int, default=90)
    return parser.parse_args()


def build_tests(test):
    """The program of that test file."""
    stand_in = f'patch.crates-io.cubecl-llvm.path="{compiling.GPU / "cubecl-llvm"}"'
    packages = ["-p", "simattn-cli", "-p", "simattn-kernels", "--test", test]
    command = ["cargo", "test", "--release", "--no-default-features", "--features", "cuda-nvrtc", "--config", stand_in, *packages, "--no-run", "--message-format=json"]
    done = compiling.run(command, cwd=compiling.ROOT, check=True, stdout=subprocess.PIPE)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [message["executable"] for message in messages if message.get("executable") and message["target"]["name"] == test][-1]


def build_driver(folder):
    """The stand-in for the driver, with the interpreter."""
    interpreter = [compiling.GPU / "interpret_ptx" / name for name in ["interpreter.cpp", "program.cpp"]]
    driver = folder / "driver.o"
    source = compiling.GPU / "compile_only_cuda" / "libcuda.c"
    compiling.run([os.environ.get("CC", "cc"), "-fPIC", "-O2", "-c", "-o", driver, source], check=True)
    compiler = [os.environ.get("CXX", "c++"), "-std=c++20", "-O2", "-fPIC", "-shared"]
    compiling.run([*compiler, "-o", folder / "libcuda.so", *interpreter, driver], check=True)


def main():
    options = arguments()
    try:
        nvrtc, _, cuda = compiling.tools(options)
        program = build_tests(options.test)
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            build_driver(folder)
            (folder / "libnvrtc.so").symlink_to(nvrtc)
            environment = dict(
                os.environ,
                LD_LIBRARY_PATH=f"{folder}:{nvrtc.parent}",
                CUDA_PATH=str(cuda),
                COMPUTE_CAPABILITY=str(options.capability),
                SIMATTN_REQUIRE_GPU="1",
            )
            return compiling.run([program, options.filter, "--nocapture", "--test-threads", "1"], env=environment).returncode
    except compiling.Missing as error:
        print(f"interpret_kernels: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"interpret_kernels: {error.cmd[0]} ended with {error.returncode}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
