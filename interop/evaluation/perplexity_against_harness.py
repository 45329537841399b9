"""Compares `simattn eval --per-document` with lm-evaluation-harness's rolling log-likelihoods on the same texts.

    python interop/evaluation/perplexity_against_harness.py BINARY MODEL HF_MODEL FOLDER [--context N] [--prefix-token TOKEN]

MODEL is a folder that `simattn convert from-hf HF_MODEL` wrote, FOLDER holds a document a file. Needs the packages lm_eval,
transformers and torch. Exits with 1 where a figure differs by more than 1e-4 of itself, which is half a unit of the fourth digit.
"""

import argparse
import math
import pathlib
import re
import subprocess
import sys


def ours(arguments):
    command = [arguments.binary, "eval", arguments.model, "--data", arguments.folder, "--per-document", "--context", str(arguments.context)]
    if arguments.prefix_token:
        command += ["--prefix-token", arguments.prefix_token]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    figures = {"tokens": r"tokens\s+(\S+)", "loss": r"loss\s+(\S+)", "perplexity": r"perplexity\s+(\S+)",
               "per word": r"per word\s+(\S+)", "bits per byte": r"bits per byte\s+(\S+)"}
    return {name: float(re.search(pattern, out)[1].replace(",", "")) for name, pattern in figures.items()}


def harness(arguments):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=arguments.hf_model, dtype="float32", device="cpu", batch_size=1, max_length=arguments.context)
    paths = sorted(path for path in pathlib.Path(arguments.folder).iterdir())
    # As simattn reads a document: without the ends of line around it.
    texts = [path.read_bytes().decode().strip("\r\n") for path in paths]
    requests = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]
    nats = -sum(model.loglikelihood_rolling(requests))
    tokens = sum(len(model.tok_encode(text)) for text in texts)
    words = sum(len(re.split(r"\s+", text)) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    return {"tokens": tokens, "loss": nats / tokens, "perplexity": math.exp(nats / tokens), "per word": math.exp(nats / words),
            "bits per byte": nats / size / math.log(2)}


def main():
    parser = argparse.ArgumentParser()
    for name in ("binary", "model", "hf_model", "folder"):
        parser.add_argument(name)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--prefix-token", help="for simattn: the tokenizer's beginning of text, which the harness takes")
    arguments = parser.parse_args()
    found, expected = ours(arguments), harness(arguments)
    agree = True
    for name, value in expected.items():
        # What is printed has four digits behind the point, or three: a unit there is no difference.
        same = abs(found[name] - value) <= max(1e-4 * value, 0.5e-4)
        agree &= same
        print(f"{name:<14} simattn {found[name]:<14} harness {value:<18.6f} {'=' if same else 'differs'}")
    if not agree:
        sys.exit("they do not agree")


if __name__ == "__main__":
    main()
