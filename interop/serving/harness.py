"""lm-evaluation-harness's local-completions against `simattn serve`, beside `simattn eval`.

    python interop/serving/harness.py BINARY MODEL HF_MODEL TASKS_DIR [LIMIT]

MODEL is a folder that `simattn convert from-hf HF_MODEL` wrote; the harness takes the tokenizer of HF_MODEL. Every log-likelihood
of PIQA and ARC-easy must lie within 2e-3 of `simattn eval`'s, and no decision may differ. Needs the package lm_eval[api] and a
binary with the feature `serve`. Exits with 1 where anything differs.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "evaluation"))
from against_harness import FILES  # noqa: E402
from server import KEY, serve  # noqa: E402

TASKS = ["piqa", "arc_easy"]


def harness(address, hf_model, tasks_dir, limit):
    os.environ["OPENAI_API_KEY"] = KEY
    import lm_eval
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from lm_eval.tasks import TaskManager
    model = LocalCompletionsAPI(base_url=f"{address}/v1/completions", model="m", tokenizer=hf_model, batch_size=8, num_concurrent=2)
    manager = TaskManager()
    wanted = []
    for name in TASKS:
        split, file = FILES[name]
        path = str(pathlib.Path(tasks_dir, file).resolve())
        wanted.append(manager._factory.build(manager._entry(name), registry=manager._index, overrides={
            "dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": {split: path}},
            "training_split": None, "fewshot_split": None, "test_split": None, "validation_split": None, f"{split}_split": split,
        }))
    return lm_eval.evaluate(lm=model, task_dict=manager.load(wanted), limit=limit, log_samples=True, bootstrap_iters=100)


def main(binary, model, hf_model, tasks_dir, limit="200"):
    limit = int(limit)
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([binary, "eval", model, "--tasks", ",".join(TASKS), "--tasks-dir", tasks_dir, "--limit", str(limit),
                        "--log-samples", f"{place}/samples"], check=True, stdout=subprocess.DEVNULL)
        process, address = serve(binary, model)
        try:
            found = harness(address, hf_model, tasks_dir, limit)
        finally:
            process.terminate()
            process.wait(timeout=60)
        largest, decisions, requests = 0.0, 0, 0
        for name in TASKS:
            lines = pathlib.Path(place, "samples", f"samples_{name}.jsonl").read_text().splitlines()
            own = {sample["doc_id"]: sample for sample in map(json.loads, lines)}
            for sample in found["samples"][name]:
                theirs = [float(answer[0]) for answer in sample["filtered_resps"]]
                ours = [float(answer[0]) for answer in own[sample["doc_id"]]["filtered_resps"]]
                requests += len(ours)
                largest = max(largest, *(abs(a - b) for a, b in zip(theirs, ours, strict=True)))
                decisions += sample["acc"] != own[sample["doc_id"]]["acc"]
    print(f"{requests} requests: log-likelihoods differ by {largest:.2g} at most, {decisions} decisions differ")
    sys.exit(largest > 2e-3 or decisions > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
