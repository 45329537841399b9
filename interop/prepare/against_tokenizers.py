"""Times `simattn prepare` beside the Python `tokenizers` package on the same text, in turn, and compares every id.

    python interop/prepare/against_tokenizers.py BINARY TOKENIZER_JSON TEXT_FOLDER...

Each round runs both as fresh processes (A B A B): reading the files, encoding, writing 16-bit ids. Python encodes all documents
in one batch by its fastest call. Prints tokens per second, the ratio and the peak memory, each as minimum, median and maximum.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 5


def files(folders):
    found = []
    for folder in folders:
        found += sorted(p for p in pathlib.Path(folder).rglob("*") if p.is_file() and not p.name.startswith("."))
    return found


def encode(tokenizer_json, out, folders):
    """What Python users do; runs in a process of its own."""
    import numpy
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer_json)
    end = tokenizer.token_to_id("<|endoftext|>")
    texts = [path.read_bytes().decode("utf-8") for path in files(folders)]
    ids = [encoding.ids + [end] for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    numpy.concatenate([numpy.array(part, dtype=numpy.uint16) for part in ids]).tofile(out)


def timed(command):
    """Seconds and peak MiB of a process."""
    watch = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL,"
        " stderr=subprocess.PIPE, text=True); sys.stderr.write(done.stderr[-400:] if done.returncode else '');"
        " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", watch, *command], stdout=subprocess.PIPE, text=True, check=True)
    return time.monotonic() - started, int(done.stdout) / 1024


def spread(values, places=0):
    low, middle, high = min(values), statistics.median(values), max(values)
    return " / ".join(f"{value:,.{places}f}" for value in (low, middle, high))


def main():
    binary, tokenizer_json, *folders = sys.argv[1:]
    ours, theirs, our_memory, their_memory = [], [], [], []
    with tempfile.TemporaryDirectory() as place:
        for turn in range(ROUNDS + 1):
            out = f"{place}/shards-{turn}"
            seconds, memory = timed([binary, "prepare", *folders, "--tokenizer", tokenizer_json, "--out", out,
                                     "--validation-fraction", "0"])
            raw = f"{place}/python-{turn}.bin"
            python_seconds, python_memory = timed([sys.executable, __file__, "--encode", tokenizer_json, raw, *folders])
            index = json.loads(pathlib.Path(out, "index.json").read_text())
            shards = [pathlib.Path(out, shard["file"]).read_bytes()[128:] for shard in index["train"]["shards"]]
            if b"".join(shards) != pathlib.Path(raw).read_bytes():
                sys.exit("the ids differ: nothing to time")
            if turn > 0:  # the first round warms the cache
                ours.append(seconds), theirs.append(python_seconds)
                our_memory.append(memory), their_memory.append(python_memory)
    tokens = index["train"]["tokens"]
    print(f"{tokens:,} tokens of {index['train']['documents']:,} documents, every id equal; {ROUNDS} rounds, min / median / max")
    print("simattn tokens/s   ", spread([tokens / s for s in ours]))
    print("tokenizers tokens/s", spread([tokens / s for s in theirs]))
    print("ratio              ", spread([t / o for o, t in zip(ours, theirs)], 2))
    print("simattn peak MiB   ", spread(our_memory))
    print("tokenizers peak MiB", spread(their_memory))


if sys.argv[1:2] == ["--encode"]:
    encode(sys.argv[2], sys.argv[3], sys.argv[4:])
else:
    main()
