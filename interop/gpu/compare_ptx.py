"""Compares two folders of PTX that compile_for_cuda.py --keep wrote, kernel by kernel.

    python interop/gpu/compare_ptx.py BEFORE AFTER

Shows that a change of the Rust code around the GPU kernels left the generated code as it was. What
differs from build to build without meaning is passed over: the hash of Rust types at the end of a
kernel's name, the folder in `.file`, and the debugging sections, which spell both byte by byte.
Everything else has to be equal, byte for byte. Kernels in brackets are Burn's.

Exits with 1 if any kernel of ours has no equal on the other side, with 2 if a folder is wrong.
"""

import collections
import pathlib
import re
import sys

KERNELS = pathlib.Path(__file__).resolve().parents[2] / "crates" / "simattn-kernels" / "src" / "cube"


def forms(folder):
    """How often each form occurs: a kernel's name without its hash, and its text without hashes."""
    found = collections.Counter()
    for path in folder.glob("*.ptx"):
        name, mark = re.fullmatch(r"(.+)_([0-9a-f]{8})", path.stem).groups()
        text = re.sub(r"^\s*\.section\s+\.debug_\w+\s*\{.*?\}", "", path.read_text(), flags=re.M | re.S)
        text = re.sub(r'^(\s*\.file\s+\d+) "[^"]*"', r"\1", text, flags=re.M)
        found[name, text.replace(mark, "-")] += 1
    return found


def ours():
    """The beginnings of our kernels' names."""
    launched = r"#\[cube\(launch[^\]]*\)\](?:\s*#\[[^\]]*\])*\s*(?:pub(?:\([^)]*\))? )?fn (\w+)"
    return re.findall(launched, "\n".join(path.read_text() for path in KERNELS.rglob("*.rs")))


def main(arguments):
    folders = [pathlib.Path(word) for word in arguments]
    if len(folders) != 2 or not all(any(folder.glob("*.ptx")) for folder in folders):
        print("compare_ptx: give two folders with .ptx files, before and after", file=sys.stderr)
        return 2
    before, after = map(forms, folders)
    print(f"{before.total()} forms before, {after.total()} after, {(before & after).total()} equal byte for byte")
    names = tuple(ours())
    alike = True
    for side, left in [("before", before - after), ("after", after - before)]:
        for (name, _), times in sorted(left.items()):
            mine = name.startswith(names)
            alike = alike and not mine
            print(f"only {side}: {name if mine else f'({name})'}" + (f", {times} times" if times > 1 else ""))
    return 0 if alike else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
