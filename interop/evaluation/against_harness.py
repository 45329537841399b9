"""Scores one model with lm-evaluation-harness and with `simattn eval`, and compares every request, item and number.

    python interop/evaluation/against_harness.py BINARY MODEL HF_MODEL TASKS_DIR [--limit N] [--rounds N] [--batch-size N] [--dtype T] [--tasks a,b]

MODEL is a folder that `simattn convert from-hf HF_MODEL` wrote. The harness's own task definitions are used; only their data comes
from TASKS_DIR. Needs the packages lm_eval, transformers and torch. Exits with 1 where anything differs.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

FILES = {
    "arc_easy": ("test", "arc_easy_test.jsonl"),
    "arc_challenge": ("test", "arc_challenge_test.jsonl"),
    "hellaswag": ("validation", "hellaswag_validation.jsonl"),
    "piqa": ("validation", "piqa_validation.jsonl"),
    "sciq": ("test", "sciq_validation.jsonl"),
    "social_iqa": ("validation", "siqa_validation.jsonl"),
    "winogrande": ("validation", "winogrande_xl_validation.jsonl"),
}


def harness(arguments, names):
    """Results, samples and seconds of the scoring alone, loading aside."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=arguments.hf_model, dtype=arguments.dtype, device="cpu", batch_size=arguments.batch_size)
    manager = TaskManager()
    wanted = []
    for name in names:
        split, file = FILES[name]
        path = str(pathlib.Path(arguments.tasks_dir, file).resolve())
        # The registered definition, with other data.
        wanted.append(manager._factory.build(manager._entry(name), registry=manager._index, overrides={
            "dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": {split: path}},
            "training_split": None, "fewshot_split": None, "test_split": None, "validation_split": None, f"{split}_split": split,
        }))
    tasks = manager.load(wanted)
    started = time.monotonic()
    found = lm_eval.evaluate(lm=model, task_dict=tasks, limit=arguments.limit, log_samples=True, bootstrap_iters=100)
    return found, time.monotonic() - started


def ours(arguments, names, place):
    started = time.monotonic()
    command = [arguments.binary, "eval", arguments.model, "--tasks", ",".join(names), "--tasks-dir", arguments.tasks_dir,
               "--json", f"{place}/results.json", "--log-samples", f"{place}/samples"]
    if arguments.limit:
        command += ["--limit", str(arguments.limit)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    results = json.loads(pathlib.Path(place, "results.json").read_text())
    samples = {}
    for name in names:
        lines = pathlib.Path(place, "samples", f"samples_{name}.jsonl").read_text(encoding="utf-8").split("\n")
        samples[name] = [json.loads(line) for line in lines if line]
    return results, samples, seconds


def compare(names, found, results, samples):
    """Prints a line a task; gives whether everything agrees."""
    agree = True
    print(f"{'task':<14}{'items':>6}{'requests':>9}{'largest difference':>20}{'decisions':>11}   numbers")
    for name in names:
        theirs = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        worst, requests, decisions = 0.0, 0, 0
        for one, other in zip(theirs, samples[name], strict=True):
            ours_likely = [response[0] for response in other["filtered_resps"]]
            theirs_likely = [float(response[0]) for response in one["filtered_resps"]]
            assert len(ours_likely) == len(theirs_likely)
            worst = max([worst] + [abs(a - b) for a, b in zip(ours_likely, theirs_likely)])
            requests += len(ours_likely)
            same = all(one[metric] == other[metric] for metric in ("acc", "acc_norm") if metric in other)
            decisions += not same
        numbers = []
        for key, value in results["results"][name].items():
            if key == "alias" or value == "N/A":
                continue
            other = found["results"][name][key]
            equal = abs(value - other) < 1e-12
            agree &= equal
            if "stderr" not in key:
                numbers.append(f"{key.split(',')[0]} {value:.6f} {'=' if equal else f'but {other:.6f}'}")
            elif not equal:
                numbers.append(f"{key} {value} but {other}")
        agree &= worst < 1e-3 and decisions == 0
        print(f"{name:<14}{len(theirs):>6}{requests:>9}{worst:>20.2e}{decisions:>11}   {', '.join(numbers)}")
    return agree


def main():
    parser = argparse.ArgumentParser()
    for name in ("binary", "model", "hf_model", "tasks_dir"):
        parser.add_argument(name)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="of the harness's model; float64 shows whose rounding a difference is")
    parser.add_argument("--tasks", default=",".join(FILES))
    arguments = parser.parse_args()
    names = arguments.tasks.split(",")
    ratios = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as place:
            results, samples, seconds = ours(arguments, names, place)
        found, harness_seconds = harness(arguments, names)
        agree = compare(names, found, results, samples)
        ratios.append(harness_seconds / seconds)
        print(f"simattn {seconds:.1f} s with loading, harness {harness_seconds:.1f} s without: {ratios[-1]:.2f} times")
        if not agree:
            sys.exit("they do not agree")
    print(f"speed, min / median / max: {min(ratios):.2f} / {statistics.median(ratios):.2f} / {max(ratios):.2f}")


if __name__ == "__main__":
    main()
