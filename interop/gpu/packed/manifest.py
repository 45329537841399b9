"""For pack.sh: finds what Cargo built, and writes the pack's manifest.

manifest.py executables MESSAGES NAME…    a line NAME, tab, path for each
manifest.py write FOLDER ROOT [changed]   FOLDER/manifest.json
"""

import datetime
import hashlib
import json
import pathlib
import re
import subprocess
import sys


def executables(messages, names):
    """The newest executable of each target, by Cargo's messages, one JSON object a line."""
    found = {}
    for line in pathlib.Path(messages).read_text(encoding="utf-8").splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if not message.get("executable"):
            continue
        # A binary may also be built as a test of itself; that one is not wanted.
        if message["target"]["kind"] == ["test" if message["profile"]["test"] else "bin"]:
            found[message["target"]["name"]] = message["executable"]
    missing = [name for name in names if name not in found]
    if missing:
        sys.exit(f"pack: Cargo built no {', '.join(missing)}: call without --skip-build")
    return {name: found[name] for name in names}


def output(*command):
    """What a program says of itself, or None where it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def write(folder, root, changed):
    """Which files the pack has, and what they were made from."""
    lock = (root / "Cargo.lock").read_text(encoding="utf-8")
    version = lambda name: re.search(rf'^name = "{name}"\nversion = "(.+)"', lock, re.M).group(1)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    suites = sorted(path.name for path in (folder / "suites").iterdir())
    present = lambda name: name if (folder / name).exists() else None
    manifest = {
        "format": 1,
        "commit": output("git", "-C", str(root), "rev-parse", "HEAD"),
        "changed_since": bool(changed),
        "packed": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ["simattn", "burn", "cubecl", "cubek"]}
        | {"rustc": output("rustc", "--version")},
        "features": ["cuda-nvrtc"],
        "program": "simattn",
        "suites": {name: f"suites/{name}" for name in suites},
        "peer": present("peer.py"),
        "tokens": present("tokens"),
        "losses": present("losses.jsonl"),
        "files": {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        },
    }
    text = json.dumps(manifest, indent=1) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "executables":
        for name, path in executables(sys.argv[2], sys.argv[3:]).items():
            print(f"{name}\t{path}")
    else:
        write(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4:] == ["changed"])
