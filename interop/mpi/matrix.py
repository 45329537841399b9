#!/usr/bin/env python3
"""What a test run cannot afford: every cell of the matrix, two hosts, timed faults, speed and memory.

    python3 interop/mpi/matrix.py BINARY [--mpich BINARY] [CHECK …]

BINARY is a simattn with the feature mpi, built with Open MPI; the one for --mpich with MPICH
(MPICC=mpicc.mpich). CHECK is one of bits, hosts, kill, stop, cut, overlap, speed, memory; all of them
without any. `hosts`, `cut` and `overlap` need root: they make two network namespaces.
"""

import argparse
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OPEN_MPI = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
MPICH = ["mpirun.mpich"]
# A wire that falls silent is noticed after 11 seconds instead of 480.
KEEPALIVE = ["--mca", "oob_tcp_keepalive_time", "5", "--mca", "oob_tcp_keepalive_intvl", "2",
             "--mca", "oob_tcp_keepalive_probes", "3"]
SAS = ('model.attention={kind="sas",heads=4,head_dim=32,expanded_heads=12,expanded_head_dim=48,'
       'kernel_size=5}')
MHA = 'model.attention={kind="mha",heads=4,head_dim=32}'
QUICK = ["--tokenizer", "bytes", "--set", "train.batch=2", "--set", "train.groups=4",
         "--set", "data.tales_train_bytes=100000", "--set", "data.tales_validation_bytes=20000",
         "--set", "train.evaluation_batches=3", "--set", "train.log_every=1", "--peak-flops", "1e11"]


def environment(threads):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    env["OMPI_MCA_btl_vader_single_copy_mechanism"] = "none"
    env.pop("SIMATTN_FAULT", None)
    return env


def train(binary, out, *more, config="configs/quick.toml"):
    return [str(binary), "train", config, "--out", str(out), *more]


def finish(command, threads=1, code=0, **more):
    done = subprocess.run(command, cwd=ROOT, env=environment(threads), capture_output=True,
                          text=True, check=False, **more)
    if done.returncode != code:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}, not {code}:\n{done.stderr}")
    return done


def steps(run):
    lines = (json.loads(line) for line in open(run / "metrics.jsonl"))
    return [line for line in lines if "loss" in line]


def result(run):
    """The bytes of a run's model, and every loss in its log as it is written."""
    text = (run / "metrics.jsonl").read_text().splitlines()
    losses = [re.sub(r',"seconds".*', "", line) for line in text]
    return (run / "model.safetensors").read_bytes(), losses


def same(name, a, b):
    if result(a) != result(b):
        sys.exit(f"{name}: not the same bytes")


def cells():
    for attention, optimizer, accumulation in itertools.product((MHA, SAS), ("adamw", "muon"), (4, 8)):
        yield ["--set", attention, "--set", f"train.optimizer={optimizer}",
               "--set", f"train.accumulation={accumulation}", "--steps", "3"]


def bits(binary, launcher, folder):
    """Every cell of the matrix on one host."""
    count = 0
    for index, what in enumerate(cells()):
        alone = folder / f"alone-{index}"
        finish(train(binary, alone, *QUICK, *what))
        ways = itertools.product((1, 2, 4), (1, 2), ("none", "block"), ("false", "true"))
        for ranks, threads, recompute, shard in ways:
            run = folder / "shared"
            how = ["--set", f"train.recompute={recompute}", "--set", f"train.shard_optimizer={shard}"]
            start = [*launcher, "-n", str(ranks)] if ranks > 1 else []
            finish([*start, *train(binary, run, *QUICK, *what, *how)], threads)
            same(f"{what} {how}, {ranks} ranks of {threads} threads", alone, run)
            shutil.rmtree(run)
            count += 1
    print(f"bits, {launcher[0]}: {count} runs, all the same bytes as the run of one process")


class Hosts:
    """Two network namespaces with a wire between them."""

    def __init__(self, rate=""):
        self.rate = rate

    def __enter__(self):
        subprocess.run([HERE / "hosts.sh", "down"], check=True)
        subprocess.run([HERE / "hosts.sh", "up", *([self.rate] if self.rate else [])], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run([HERE / "hosts.sh", "down"], check=True)

    def mpirun(self, ranks, *more):
        half = ranks // 2
        return ["ip", "netns", "exec", "simattn-host1", *OPEN_MPI,
                "--host", f"10.78.0.1:{half},10.78.0.2:{half}", "-n", str(ranks),
                "--mca", "plm_rsh_agent", str(HERE / "agent.sh"), "--mca", "btl", "self,tcp",
                "--mca", "btl_tcp_if_include", "10.78.0.0/24", "--mca", "oob_tcp_if_include",
                "10.78.0.0/24", "-x", "RAYON_NUM_THREADS", *more]

    def mpich(self, ranks):
        half = ranks // 2
        return ["ip", "netns", "exec", "simattn-host1", *MPICH, "-launcher", "ssh", "-launcher-exec",
                str(HERE / "agent.sh"), "-hosts", f"10.78.0.1:{half},10.78.0.2:{half}",
                "-n", str(ranks)]


def hosts(binary, mpich, folder):
    """Some cells on two hosts."""
    count = 0
    with Hosts() as two:
        for index, what in enumerate(cells()):
            alone = folder / f"one-host-{index}"
            finish(train(binary, alone, *QUICK, *what))
            ways = [(binary, two.mpirun(2)), (binary, two.mpirun(4))]
            if mpich:
                ways += [(mpich, two.mpich(2)), (mpich, two.mpich(4))]
            for program, start in ways:
                run = folder / "two-hosts"
                shard = "true" if index % 2 else "false"
                more = ["--set", f"train.shard_optimizer={shard}"]
                finish([*start, *train(program, run, *QUICK, *what, *more)])
                same(f"{what} on two hosts", alone, run)
                shutil.rmtree(run)
                count += 1
    print(f"hosts: {count} runs on two hosts, all the same bytes")


def ranks_of(launcher):
    """The processes of a job by rank, wherever they hang below the launcher."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
                parents[int(entry.name)] = int(stat[1])
            except (OSError, IndexError):
                continue
    found = {}
    for process in parents:
        line = [process]
        while line[-1] in parents:
            line.append(parents[line[-1]])
        if launcher not in line:
            continue
        try:
            text = pathlib.Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace")
            name = pathlib.Path(f"/proc/{process}/comm").read_text().strip()
        except OSError:
            continue
        rank = re.search(r"(?:OMPI_COMM_WORLD_RANK|PMI_RANK)=(\d+)", text)
        if rank and name.startswith("simattn"):
            found[int(rank.group(1))] = process
    return found


def runs(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def left_of(ranks, until):
    """Those that still run then; a process that was killed may take a moment to go."""
    while any(runs(process) for process in ranks.values()) and time.monotonic() < until:
        time.sleep(0.02)
    return [process for process in ranks.values() if runs(process)]


def started(command, enough, fault=""):
    env = environment(1)
    if fault:
        env["SIMATTN_FAULT"] = fault
    job = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
    for line in job.stderr:
        if enough(line):
            return job
    sys.exit(f"{' '.join(command)}\nended by itself")


def ended(job, since, within, what):
    _, said = job.communicate(timeout=120)
    seconds = time.monotonic() - since
    ours = [line for line in said.splitlines() if line.startswith("simattn: ")]
    if job.returncode == 0 or seconds > within:
        sys.exit(f"{what}: ended with {job.returncode} after {seconds:.1f} s\n{said}")
    return seconds, ours


LONG = ["--set", MHA, "--set", "train.accumulation=4", "--set", "train.checkpoint_every=5",
        "--set", "train.keep_checkpoints=2", "--set", "train.evaluate_every=0"]


def kill(binary, launcher, folder):
    """20 kills of a random rank at random moments, every second one while rank 0 saves."""
    dice = random.Random(5)
    more = [*QUICK, *LONG, "--steps", "150"]
    alone, run = folder / "not-killed", folder / "killed"
    finish(train(binary, alone, *more))
    slowest = 0
    for attempt in range(20):
        count = dice.choice((2, 4))
        command = [*launcher, "-n", str(count), *train(binary, run, *more)]
        seen = dice.randrange(1, 8)
        fault = ""
        if attempt % 2:
            point = dice.choice(("begin", "model", "optimizer", "state", "sums", "rename", "renamed"))
            fault = f"hold@checkpoint.{point}#1"
        lines = itertools.count(1)

        def enough(line):
            if fault:
                return line.startswith("SIMATTN_FAULT")
            return " step " in line and next(lines) >= seen

        job = started(command, enough, fault)
        time.sleep(dice.random() * 0.05)
        ranks = ranks_of(job.pid)
        assert len(ranks) == count, ranks
        since = time.monotonic()
        os.kill(ranks[dice.randrange(count)], signal.SIGKILL)
        seconds, _ = ended(job, since, 5, f"kill {attempt}")
        left = left_of(ranks, since + 5)
        if left:
            sys.exit(f"kill {attempt}: {left} run on")
        slowest = max(slowest, seconds)
    finish([*launcher, "-n", "2", *train(binary, run, *more)])
    same("after 20 kills", alone, run)
    print(f"kill, {launcher[0]}: 20 kills, the slowest end after {slowest:.2f} s, nothing left running, "
          "the restart ends with the same bytes")


def stop(binary, launcher, folder):
    """A rank that is stopped is named within the deadline and 5 seconds."""
    for victim in (0, 1, 3):
        run = folder / f"stopped-{victim}"
        command = [*launcher, "-n", "4",
                   *train(binary, run, *QUICK, *LONG, "--steps", "100000", "--deadline", "3")]
        job = started(command, lambda line: " step 3/" in line)
        ranks = ranks_of(job.pid)
        since = time.monotonic()
        os.kill(ranks[victim], signal.SIGSTOP)
        seconds, said = ended(job, since, 8, "stop")
        if len(said) != 1 or f"rank {victim} did not answer" not in said[0]:
            sys.exit(f"stop: {said}")
        left = left_of(ranks, since + 8)
        if left:
            sys.exit(f"stop: {left} run on")
        print(f"stop, {launcher[0]}: rank {victim} named after {seconds:.1f} s at a deadline of 3: {said[0]}")


def cut(binary, folder):
    """A wire that falls silent ends the job within 15 seconds."""
    with Hosts() as two:
        run = folder / "cut"
        more = [*QUICK, *LONG, "--steps", "100000", "--deadline", "10"]
        job = started([*two.mpirun(2, *KEEPALIVE), *train(binary, run, *more)],
                      lambda line: " step 3/" in line)
        ranks = ranks_of(job.pid)
        since = time.monotonic()
        subprocess.run(["ip", "-n", "simattn-host2", "link", "set", "wire2", "down"], check=True)
        seconds, said = ended(job, since, 15, "cut")
        left = left_of(ranks, since + 15)
        print(f"cut: ended after {seconds:.1f} s with {job.returncode}, left running: {left or 'nothing'}; "
              f"said {said}")


def mean_seconds(run, first=2):
    """Seconds of a step, of those from number `first` on."""
    lines = steps(run)
    took = [b["seconds"] - a["seconds"] for a, b in zip(lines, lines[1:]) if a["step"] >= first]
    return statistics.median(took)


def overlap(binary, folder, turns=20):
    """How much of the exchange hides behind backward: the 10M preset over 1 Gb/s.

    One run, whose steps take turns: with the exchange as it is, without it (every rank goes on with
    its own gradients, but still waits for the others' losses), and with all of it after backward.
    """
    last = 3 * turns + 3
    # A fault counts the steps; step 4 is the first that is looked at.
    faults = [f"wrong@exchange.skip#{step}" for step in range(5, last + 1, 3)]
    faults += [f"wrong@exchange.early#{step}" for step in range(6, last + 1, 3)]
    more = ["--data", "tales", "--tokenizer", "bytes", "--set", "data.tales_train_bytes=2000000",
            "--set", "train.evaluation_batches=1", "--set", "train.evaluate_every=0",
            "--set", "train.checkpoint_every=0", "--peak-flops", "1e11", "--steps", str(last),
            "--set", "train.accumulation=4", "--set", "train.groups=2"]
    with Hosts("1gbit") as two:
        run = folder / "over-the-wire"
        start = two.mpirun(2, "-x", f"SIMATTN_FAULT={','.join(faults)}")
        finish([*start, *train(binary, run, *more, config="configs/books-10m.toml")])
    lines = steps(run)
    took = {line["step"]: line["seconds"] - before["seconds"] for before, line in zip(lines, lines[1:])}
    waited = {line["step"]: line["waiting_seconds"] for line in lines}
    both, without, late = ([took[step] for step in range(first, last + 1, 3)] for first in (4, 5, 6))
    waits = [statistics.median(waited[step] for step in range(first, last + 1, 3)) for first in (4, 5, 6)]
    middle = [statistics.median(times) for times in (both, without, late)]
    share = 1 - (middle[0] - middle[1]) / (middle[2] - middle[1])
    print("overlap: a step takes {:.3f} s, {:.3f} s without the exchange and {:.3f} s with all of it after "
          "backward; ".format(*middle)
          + "of it rank 0 waits for the others {:.3f}, {:.3f} and {:.3f} s; ".format(*waits)
          + f"hidden: {share:.0%} ({turns} steps of each, in turn)")


def speed(binary, launcher, folder):
    """Two ranks of one thread against one process of two threads, on two cores."""
    config = "configs/books-10m.toml"
    more = ["--data", "tales", "--tokenizer", "bytes", "--set", "data.tales_train_bytes=2000000",
            "--set", "train.evaluation_batches=1", "--set", "train.evaluate_every=0",
            "--set", "train.checkpoint_every=0", "--peak-flops", "1e11", "--steps", "8",
            "--set", "train.accumulation=4", "--set", "train.groups=2"]
    pairs = []
    for turn in range(3):
        one, two = folder / f"threads-{turn}", folder / f"ranks-{turn}"
        finish(train(binary, one, *more, config=config), threads=2)
        finish([*launcher, "-n", "2", *train(binary, two, *more, config=config)], threads=1)
        pairs.append((mean_seconds(one), mean_seconds(two)))
    ratio = statistics.median(one / two for one, two in pairs)
    print(f"speed: {pairs} s a step (two threads, two ranks): two ranks reach {ratio:.0%}")


def memory(binary, launcher, folder):
    """ZeRO-1 at 125M on 4 ranks: resident memory of rank 0."""
    config = "configs/books-125m-mha-512.toml"
    used = {}
    for shard in ("false", "true"):
        run = folder / f"shard-{shard}"
        more = ["--data", "tales", "--tokenizer", "bytes", "--set", "model.vocabulary=50304",
                "--set", "data.tales_train_bytes=1000000", "--batch", "1", "--set", "train.accumulation=4",
                "--set", "train.groups=4", "--set", f"train.shard_optimizer={shard}",
                "--set", "train.evaluation_batches=1", "--set", "train.evaluate_every=0",
                "--set", "train.checkpoint_every=0", "--set", "train.recompute=block",
                "--peak-flops", "1e11", "--steps", "3", "--deadline", "600"]
        finish([*launcher, "-n", "4", *train(binary, run, *more, config=config)])
        used[shard] = max(line["memory_bytes"] for line in steps(run)) / 2**20
    same("memory", folder / "shard-false", folder / "shard-true")
    print(f"memory: {used['false']:.0f} MiB without shards, {used['true']:.0f} MiB with: "
          f"{used['false'] - used['true']:.0f} MiB less, the same bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--mpich", type=pathlib.Path)
    parser.add_argument("check", nargs="*")
    args = parser.parse_intermixed_args()
    binary = args.binary.resolve()
    mpich = args.mpich and args.mpich.resolve()
    launchers = [(binary, OPEN_MPI)] + ([(mpich, MPICH)] if mpich else [])
    checks = args.check or ["bits", "hosts", "kill", "stop", "cut", "overlap", "speed", "memory"]
    for check in checks:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            if check in ("bits", "kill", "stop"):
                for index, (program, launcher) in enumerate(launchers):
                    place = folder / str(index)
                    place.mkdir()
                    globals()[check](program, launcher, place)
            elif check == "hosts":
                hosts(binary, mpich, folder)
            elif check in ("cut", "overlap"):
                globals()[check](binary, folder)
            else:
                globals()[check](binary, OPEN_MPI, folder)
        print(f"{check}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
