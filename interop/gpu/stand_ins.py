"""Small scripts in place of simattn, its tests, PyTorch and Cargo, and a pack of them."""

import hashlib
import json
import pathlib
import shutil
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from packed import processes, results, runner, table  # noqa: E402

# Stands for simattn. It ends the program that started it where it is told to.
PROGRAM = """
import json, os, pathlib, signal, sys
words = sys.argv[1:]
value = lambda name, other=None: words[words.index(name) + 1] if name in words else other
if words[0] == "info":
    print("processor stand-in")
elif words[0] == "train":
    out = pathlib.Path(value("--out"))
    out.mkdir(parents=True)
    print("sas: 1,000 parameters, 5 training tokens, 2 a step", file=sys.stderr)
    lines = [dict(step=n, tokens=2 * n, loss=3.0, seconds=n * 10.0, mfu=0.5) for n in range(1, 210)]
    text = "\\n".join(map(json.dumps, lines)) + '\\n{"step": 210, "lo'
    out.joinpath("metrics.jsonl").write_text(text)
else:
    form = "heads-only" if "--heads-only" in words else value("--variant")
    once = pathlib.Path(__file__).with_name("ended")
    if os.environ.get("END_AT") == f"{words[1]}-{form}" and not once.exists():
        once.touch()
        os.kill(os.getppid(), signal.SIGKILL)
    print("a warning")
    if pathlib.Path("cubecl.toml").exists():
        line = lambda ms, name: f"| {ms}ms        | {name}\\n"
        one = line(2, "AttentionForwardMma | bf16 | Cuda_0a0b0c0d") + line(1, "Other_00000001")
        pathlib.Path("launches.log").write_text(line(9, "Check_00000002") + 4 * one)
    whats = dict(layer=["layer forward", "layer forward+backward"], train=["train step"])[words[1]]
    for what in whats:
        print(json.dumps(dict(what=what, variant=value("--variant"), dtype="bf16", median_ms=20.0,
                              sgemm_gflops=400e3, percent_of_sgemm=10.0, tokens_per_s=100.0)))
"""

# Stands for a Python with PyTorch.
TORCH = """
import json, sys
words = sys.argv[2:]
if sys.argv[1].endswith("card_rates.py"):
    print(json.dumps(dict(what="product", gflops=800e3)))
    print(json.dumps(dict(what="copy", gb_per_s=4000.0)))
else:
    whats = dict(layer=["layer forward", "layer forward+backward"], train=["train step"])[words[0]]
    for what in whats:
        ms = 50.0 if "--compile" in words else 60.0
        print(json.dumps(dict(what=what, median_ms=ms, peak_mib=40e3)))
"""

# Stands for the tests of kernels: one passes, one fails, one hangs, and so do
# its children, of which one leaves its group.
SUITE = """
import subprocess, sys, time
if "--list" in sys.argv:
    print("fine: test\\nwrong: test\\nhangs: test")
    sys.exit()
name = sys.argv[sys.argv.index("--exact") + 1]
print(f"\\nrunning 1 test\\ntest {name} ... ", end="", flush=True)
if name == "hangs":
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    subprocess.Popen(["sleep", "600"])
    time.sleep(600)
if name == "fine":
    print("ok\\n\\ntest result: ok. 1 passed; 0 failed")
else:
    print("FAILED\\n\\nfailures:\\n\\n---- wrong stdout ----\\n\\n"
          "thread 'wrong' (7) panicked at a.rs:1:2:\\n"
          "dq is off by 0.1\\nnote: run with RUST_BACKTRACE\\n\\n\\nfailures:\\n    wrong\\n")
    sys.exit(101)
"""


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


def packed(folder):
    """A pack of stand-ins."""
    script(folder / "simattn", PROGRAM)
    script(folder / "suites" / "cube_stand_in", SUITE)
    shutil.copytree(HERE / "packed" / "configs", folder / "configs")
    (folder / "peer.py").write_text("")
    losses = [json.dumps({"step": n, "loss": 3.001}) for n in range(1, 201)]
    (folder / "losses.jsonl").write_text("\n".join(losses))
    files = [path for path in folder.rglob("*") if path.is_file()]
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = {
        "commit": "c0ffee",
        "program": "simattn",
        "suites": {"cube_stand_in": "suites/cube_stand_in"},
        "peer": "peer.py",
        "losses": "losses.jsonl",
        "files": {str(path.relative_to(folder)): digest(path) for path in files},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


# Stands for Cargo: "builds" copies of a program that strip takes, and changes the
# lock as Cargo does.
CARGO = """
import json, os, pathlib, shutil, sys
words = sys.argv[1:]
if words[0] not in ("build", "test"):
    sys.exit(f"cargo {words[0]}: not expected")
with open("Cargo.lock", "a") as lock:
    lock.write("[[patch.unused]]\\n")
if os.environ.get("BROKEN") == words[0]:
    sys.exit("error: could not compile")
target = pathlib.Path(os.environ["CARGO_TARGET_DIR"])
target.mkdir(exist_ok=True)
names = [words[at + 1] for at, word in enumerate(words) if word in ("--test", "--bin")]
for name in names:
    shutil.copy(shutil.which("true"), target / name)
    kind = "test" if words[0] == "test" else "bin"
    print(json.dumps(dict(reason="compiler-artifact", target=dict(name=name, kind=[kind]),
                          profile=dict(test=kind == "test"), executable=str(target / name))))
"""


class InFolder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name).resolve()
        # Whatever a failed test leaves.
        self.addCleanup(processes.kill_marked, str(self.folder))

    def runner(self, seconds):
        """A runner with so much time, and its results."""
        head = {"title": "a title", "commit": "c0ffee"}
        found = results.Results(self.folder / "out", head, table.page)
        end = time.monotonic() + seconds
        return runner.Runner(found, end, lambda: None, lambda name: 7), found

    def shell(self, name, text, limit=60.0, **more):
        about = more.pop("about", {"program": "simattn"})
        return runner.Step(name, ["sh", "-c", text], limit, least=0.05, about=about, **more)
