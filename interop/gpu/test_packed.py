"""Tests of measure.py --packed and pack.sh, with small scripts in place of what they run.

    python interop/gpu/test_packed.py

Linux, standard library alone; the test of pack.sh also needs bash, git, strip and xz.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from stand_ins import CARGO, HERE, TORCH, InFolder, packed, script

from packed import package, plan, processes, results, runner


class Steps(InFolder):
    def test_a_step_that_hangs_is_killed_with_its_children_and_the_next_one_runs(self):
        run, found = self.runner(60)
        mark = f"{self.folder}/out:"
        run.alone(self.shell("hangs", "setsid sleep 600 & sleep 600 & wait", limit=0.3))
        self.assertEqual(processes.marked(mark), [])
        run.alone(self.shell("next", "echo done"))
        self.assertEqual(found.steps["hangs"]["ended"], "killed")
        self.assertIn("limit of 0.3 s", found.steps["hangs"]["why"])
        self.assertEqual(found.steps["next"]["ended"], "finished")
        self.assertEqual((self.folder / "out" / "07-next" / "stdout").read_text(), "done\n")

    def test_children_that_a_step_leaves_behind_are_killed_and_those_of_others_are_not(self):
        (self.folder / "beside").mkdir()
        beside = processes.Process(
            ["sleep", "600"], self.folder / "beside", {}, f"{self.folder}/out:a"
        )
        run, found = self.runner(60)
        # Its mark begins like the other's name does not: "out:a" is a beginning of "out:ab".
        run.alone(self.shell("ab", "setsid sleep 600 &"))
        self.assertEqual(found.steps["ab"]["ended"], "finished")
        self.assertEqual(processes.marked(f"{self.folder}/out:"), [beside.child.pid])
        self.assertTrue(beside.kill())
        self.assertEqual(processes.marked(f"{self.folder}/out:"), [])

    def test_limits_keep_to_the_whole_and_what_does_not_fit_is_listed(self):
        run, found = self.runner(1.0)
        for name in "abcde":
            run.alone(self.shell(name, "sleep 600", limit=0.4))
        begun = [step for step in found.steps.values() if step["ended"] == "killed"]
        self.assertLessEqual(sum(step["limit"] for step in begun), 1.0)
        self.assertEqual(found.steps["a"]["limit"], 0.4)
        self.assertFalse(found.steps["a"]["shortened"])
        last = found.steps["e"]
        self.assertEqual((last["ended"], last["why"]), ("left out", "no time was left"))
        self.assertIn("| e | left out |", (self.folder / "out" / "table.md").read_text())

    def test_a_lane_keeps_its_order_and_lanes_run_side_by_side(self):
        run, found = self.runner(60)
        # Each waits for what the other lane's does: one lane after the other would never end.
        wait = "until [ -e ../{} ]; do sleep 0.01; done"
        first = [
            self.shell("a", "touch ../a; " + wait.format("b")),
            self.shell("c", "test -e ../a"),
        ]
        second = [self.shell("b", wait.format("a") + "; touch ../b")]
        run.beside([first, second], time.monotonic() + 60, 2)
        self.assertEqual({step["ended"] for step in found.steps.values()}, {"finished"})

    def test_whatever_is_wrong_with_one_step_the_others_are_written_down(self):
        run, found = self.runner(60)
        run.alone(runner.Step("missing", [self.folder / "no-program"], 5.0))
        run.alone(self.shell("fails", "echo why it failed >&2; exit 3"))
        run.alone(self.shell("unreadable", "true", read=lambda folder: 1 / 0))
        run.alone(self.shell("dependent", "true", needs=("fails",)))
        said = {name: (step["ended"], step["why"]) for name, step in found.steps.items()}
        self.assertIn("cannot be started", said["missing"][1])
        self.assertEqual(said["fails"], ("failed", "ended with 3: why it failed"))
        self.assertIn("ZeroDivisionError", found.steps["unreadable"]["unreadable"])
        self.assertEqual(said["dependent"], ("left out", "needs fails"))
        saved = json.loads((self.folder / "out" / results.FILE).read_text())
        self.assertEqual([step["name"] for step in saved["steps"]], list(said))

    def test_a_step_that_has_done_enough_is_asked_to_stop(self):
        run, found = self.runner(60)
        mark = self.folder / "out" / "07-trains" / "stdout"
        text = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
        run.alone(self.shell("trains", text, enough=lambda left: "ready" in mark.read_text()))
        self.assertEqual(found.steps["trains"]["ended"], "finished")
        self.assertEqual(mark.read_text(), "ready\nsaved\n")


class Whole(InFolder):
    def measure(self, pack, *more, **environment):
        python = script(self.folder / "python", TORCH)
        command = [
            sys.executable,
            HERE / "measure.py",
            "--packed",
            pack,
            "--out",
            self.folder / "out",
        ]
        command += ["--device", "cuda:0", "--python", python, *more]
        # A call that is killed cannot clear its temporary folder away.
        environment |= {"TMPDIR": str(self.folder)}
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)

    def steps(self):
        saved = json.loads((self.folder / "out" / results.FILE).read_text())
        return {step["name"]: step for step in saved["steps"]}

    def test_results_survive_the_end_of_the_program_and_the_next_call_goes_on(self):
        pack = packed(self.folder / "pack")
        only = [
            "--only",
            "machine,torch,suite-*-fine,suite-*-wrong,layer-*,train-*,torch-*-compiled,learn-*,launches-layer-sas",
        ]
        killed = self.measure(pack, *only, END_AT="layer-mha")
        self.assertEqual(killed.returncode, -signal.SIGKILL)
        before = self.steps()
        self.assertEqual(before["layer-sas"]["ended"], "finished")
        self.assertEqual(before["layer-sas"]["rows"][1]["median_ms"], 20.0)
        self.assertNotIn("layer-mha", before)

        again = self.measure(pack, *only)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("== layer-sas,", again.stderr)
        after = self.steps()
        self.assertEqual(after["layer-sas"], before["layer-sas"])
        self.assertEqual(after["layer-mha"]["ended"], "finished")
        page = (self.folder / "out" / "table.md").read_text()
        for line in [
            "| SAS layer, forward and backward | 20 ms | 50 ms | 2.5 | ≥ 2 | ≥ 3.5 | pass |",
            "| MHA step | 20 ms | 50 ms | 2.5 | ≥ 0.7 | ≥ 1 | aim |",
            "over PyTorch's compiled MHA step | 20 ms | 50 ms | 0.4 | ≤ 2 | ≤ 1.33 | aim |",
            "| 400 TFLOP/s | 800 TFLOP/s | 0.5 | ≥ 0.5 | ≥ 0.8 | pass |",
            "200 steps: means of 20 steps differ by at most 0.0010 nats (0.01 allowed): pass.",
            "wrong: dq is off by 0.1",
        ]:
            self.assertIn(line, page)
        self.assertIn("| sas | 209 | 0 | 3.0000 |", page)
        # 193.5 GFLOP in 2 ms, of the 800 TFLOP/s of PyTorch's product.
        self.assertIn(
            "| attention_forward_mma | 1 | 1 | 2.000 | 66.7 | 193.5 | 96.7 | 12.1 |", page
        )

    def test_one_test_that_hangs_hides_no_other(self):
        pack = package.Package(packed(self.folder / "pack"))
        setting = plan.Setting(pack, self.folder, "cuda", sys.executable, {}, quick=True, only=[])
        lanes = plan.suites(setting)
        for step in (step for lane in lanes for step in lane):
            step.limit = 0.5 if step.name.endswith("-hangs") else 60.0
        run, _ = self.runner(60)
        run.beside(lanes, time.monotonic() + 60, 3)
        page = (self.folder / "out" / "table.md").read_text()
        row = next(line for line in page.splitlines() if line.startswith("| cube_stand_in"))
        self.assertTrue(row.startswith("| cube_stand_in | 1 | 1 | 1 |"), row)
        self.assertIn("wrong: dq is off by 0.1; hangs: its limit of", row)
        self.assertEqual(processes.marked(f"{self.folder}/out:"), [])

    def test_what_cannot_be_used_is_one_line(self):
        pack = packed(self.folder / "pack")
        (pack / "peer.py").write_text("changed")
        (self.folder / "empty").mkdir()
        (self.folder / "half.tar.xz").write_bytes(b"\xfd7zXZ\0 and no more")
        for given, line in [
            (pack, "its SHA-256 differs"),
            (self.folder / "empty", "not what pack.sh makes"),
            (self.folder / "half.tar.xz", "cannot be unpacked"),
            (self.folder / "nothing", "cannot be unpacked"),
        ]:
            done = self.measure(given)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertRegex(done.stderr, f"\\Ameasure: .*{line}.*\\n\\Z")

    def test_a_folder_with_something_else_in_it_is_left_alone(self):
        (self.folder / "out").mkdir()
        (self.folder / "out" / "thesis.txt").write_text("precious")
        done = self.measure(packed(self.folder / "pack"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("is not empty", done.stderr)


@unittest.skipUnless(
    all(map(shutil.which, ["bash", "git", "strip", "xz", "tar"])),
    "bash, git, strip, xz and tar are needed",
)
class Packing(InFolder):
    def setUp(self):
        super().setUp()
        self.root = self.folder / "root"
        for name in ["pack.sh", "measure.py", "packed"]:
            to = self.root / "interop" / "gpu" / name
            to.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if name == "packed" else shutil.copy)(HERE / name, to)
        crates = "".join(
            f'[[package]]\nname = "{name}"\nversion = "1.2.3"\n'
            for name in ["simattn", "burn", "cubecl", "cubek"]
        )
        self.lock = self.root / "Cargo.lock"
        self.lock.write_text(crates)
        self.locked = crates
        git = ["git", "-C", self.root, "-c", "user.name=x", "-c", "user.email=x@example.org"]
        for words in [["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x"]]:
            subprocess.run([*git, *words], check=True)
        script(self.folder / "bin" / "cargo", CARGO)

    def pack(self, *words, **environment):
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment |= {"PATH": path, "CARGO_TARGET_DIR": str(self.folder / "target")}
        command = [
            "bash",
            self.root / "interop" / "gpu" / "pack.sh",
            self.folder / "out.tar.xz",
            *words,
        ]
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)

    def test_a_pack_has_everything_and_the_lock_is_as_it_was(self):
        peer = self.folder / "some_peer.py"
        peer.write_text("print()")
        done = self.pack("--peer", peer, "--skip-losses")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.lock.read_text(), self.locked)
        self.assertRegex(done.stdout, r"out\.tar\.xz: 0\.\d MiB\n\Z")
        opened = package.opened(self.folder / "out.tar.xz", self.folder / "scratch")
        self.assertEqual(len(opened.suites), 8)
        self.assertEqual(opened.part("peer").read_text(), "print()")
        self.assertEqual(opened.manifest["versions"]["cubecl"], "1.2.3")
        self.assertFalse(opened.manifest["changed_since"])
        self.assertTrue((opened.folder / "packed" / "plan.py").exists())
        # What was built is taken again, without Cargo.
        again = self.pack("--skip-build", "--skip-losses", BROKEN="build")
        self.assertEqual(again.returncode, 0, again.stderr)

    def test_a_failure_is_one_line_and_leaves_neither_a_pack_nor_another_lock(self):
        for words, environment, last in [
            ([], {"BROKEN": "test"}, "pack: the tests' build failed"),
            (["--skip-build"], {}, "call without --skip-build first"),
            (["--peer", "nowhere.py"], {}, "pack: --peer nowhere.py: no such file"),
            (["--frobnicate"], {}, "pack: --frobnicate: no such option; see --help"),
        ]:
            done = self.pack(*words, **environment)
            self.assertIn(done.returncode, [1, 2])
            self.assertTrue(done.stderr.splitlines()[-1].endswith(last), done.stderr)
            self.assertEqual(self.lock.read_text(), self.locked)
            self.assertEqual(list(self.folder.glob("out.tar.xz*")), [])


if __name__ == "__main__":
    unittest.main()
