"""What the machine offers: NVRTC with CUDA's headers, and how full the card's memory is."""

import ctypes
import os
import pathlib
import re
import sys


def cuda_environment(cache, roots=None):
    """What simattn needs to find NVRTC and the headers, and where the driver keeps machine code.

    Empty where there is no CUDA. A toolkit comes before the packages of a Python environment.
    """
    # Where the driver's own library may be.
    before = os.environ.get("LD_LIBRARY_PATH", "")
    if roots is None:
        toolkits = pathlib.Path("/usr/local").glob("cuda*")
        packages = [path for at in sys.path for path in pathlib.Path(at).glob("nvidia/cu*")]
        roots = [*sorted(toolkits), pathlib.Path("/usr"), pathlib.Path("/opt/cuda"), *packages]
    for root in roots:
        libraries = [
            found
            for folder in ["lib64", "lib", "targets/x86_64-linux/lib", "lib/x86_64-linux-gnu"]
            for found in sorted((root / folder).glob("libnvrtc.so*"))
        ]
        if libraries and (root / "include" / "mma.h").is_file():
            # Under the name that is looked for first, so that no other version is found.
            link = cache / "lib" / "libnvrtc.so"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(libraries[0].resolve())
            return {
                "CUDA_PATH": str(root),
                "LD_LIBRARY_PATH": ":".join(
                    [str(link.parent), str(libraries[0].parent), *before.split(":")]
                ).rstrip(":"),
                "CUDA_CACHE_PATH": str(cache / "driver"),
                "CUDA_CACHE_MAXSIZE": str(4 << 30),
            }
    return {}


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ["total", "free", "used"]]


def memory_meter(device):
    """A function that gives the MiB in use on the card, all processes together; None if unknown."""
    unknown = lambda: None
    if not device.startswith("cuda"):
        return unknown
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        handle = ctypes.c_void_p()
        index = int((re.search(r":(\d+)$", device) or [0, 0])[1])
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(
            ctypes.c_uint(index), ctypes.byref(handle)
        ):
            return unknown
    except (OSError, AttributeError):
        return unknown

    def used():
        memory = _Memory()
        failed = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        return None if failed else memory.used / 2**20

    return used
