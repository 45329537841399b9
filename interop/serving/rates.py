"""Tokens a second of simattn, llama.cpp and transformers on one machine, in turn.

    python interop/serving/rates.py BINARY MODEL HF_MODEL GGUF_FOLDER NODE_MODULES [ROUNDS]

MODEL is what `simattn convert from-hf HF_MODEL` wrote, GGUF_FOLDER what gguf_files.py wrote, NODE_MODULES the folder of
`npm i -E node-llama-cpp@3.21.1`. One thread for each core. A round runs every program once, each in a process of its own, before the
next round begins; the median over rounds counts, and the least and greatest are printed. llama.cpp runs with one thread
and with all, with its sampler and with tokens given, and the best of the four medians is its rate. Needs node and the packages
transformers and torch.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

PROMPT, TOKENS, STREAMS = 512, 128, 8
THREADS = os.cpu_count()
HERE = pathlib.Path(__file__).parent

TRANSFORMERS = """
import sys, time, torch
from transformers import AutoModelForCausalLM
torch.set_num_threads(int(sys.argv[3]))
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
prompt, tokens = torch.arange(1, 1 + int(sys.argv[2]))[None] * 31 % 40000, int(sys.argv[4])
with torch.inference_mode():
    model(prompt)
    start = time.perf_counter()
    model(prompt)
    print("prefill", prompt.numel() / (time.perf_counter() - start))
    model.generate(prompt[:, :8], max_new_tokens=8, do_sample=False)
    start = time.perf_counter()
    made = model.generate(prompt[:, :8], max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    print("decode", (made.shape[1] - 8) / (time.perf_counter() - start))
"""


def prompts(hf_model, place):
    """Files of one short prompt, of several, and of one with PROMPT tokens."""
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(hf_model)
    ids = tokenizer((HERE.parents[1] / "README.md").read_text(), add_special_tokens=False)["input_ids"]
    text = next(text for text in (tokenizer.decode(ids[first:first + PROMPT]) for first in range(100))
                if len(tokenizer(text, add_special_tokens=False)["input_ids"]) == PROMPT)
    several = [f"Chapter {chapter}. Once upon a time" for chapter in range(1, STREAMS + 1)]
    for name, lines in [("one", several[:1]), ("several", several), ("long", [text])]:
        pathlib.Path(place, f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def ours(binary, model, place, weights):
    def generate(name, tokens, streams=1):
        said = subprocess.run([binary, "generate", model, "--file", f"{place}/{name}.jsonl", "--tokens", str(tokens), "--weights",
                               weights, "--device", "cpu"], check=True, capture_output=True, text=True,
                              env={**os.environ, "RAYON_NUM_THREADS": str(THREADS)}).stderr
        made, rate, first = re.search(r"generate: (\d+) tokens in .*?, ([\d.]+) tokens/s, after ([\d.]+) s", said).groups()
        if int(made) != tokens * streams:
            sys.exit(f"{name}: {made} tokens were made, not {tokens * streams}")
        return float(rate), float(first)
    rates = {"decode": generate("one", TOKENS)[0]}
    if weights == "f32":
        rates["streams"] = generate("several", TOKENS, STREAMS)[0]
        rates["prefill"] = PROMPT / generate("long", 1)[1]
    return rates


def llama_cpp(modules, file, threads):
    said = subprocess.run(["node", HERE / "llama_cpp.mjs", modules, file, str(PROMPT), str(TOKENS), str(threads)], check=True,
                          capture_output=True, text=True).stdout
    rates = json.loads(said.splitlines()[-1])
    return {f"{key}, {threads} threads": rates[key] for key in ("prefill", "decode", "given")}


def transformers(hf_model):
    said = subprocess.run([sys.executable, "-c", TRANSFORMERS, hf_model, str(PROMPT), str(THREADS), str(TOKENS)], check=True,
                          capture_output=True, text=True).stdout
    return {name: float(rate) for name, rate in map(str.split, said.splitlines())}


def main(binary, model, hf_model, gguf, modules, rounds="5"):
    seen = {}
    with tempfile.TemporaryDirectory() as place:
        prompts(hf_model, place)
        programs = {}
        for weights, kind in [("f32", "f32"), ("bf16", "bf16"), ("int8", "q8_0")]:
            programs["simattn", weights] = lambda weights=weights: ours(binary, model, place, weights)
            programs["llama.cpp", weights] = lambda kind=kind: {
                name: rate for threads in sorted({1, THREADS})
                for name, rate in llama_cpp(modules, f"{gguf}/{kind}.gguf", threads).items()}
        programs["transformers", "f32"] = lambda: transformers(hf_model)
        for _ in range(int(rounds)):
            for program, run in programs.items():
                for name, rate in run().items():
                    seen.setdefault((*program, name), []).append(rate)
    median = {key: statistics.median(rates) for key, rates in seen.items()}
    print("| program | weights | what | tokens/s | least to greatest |\n|---|---|---|---|---|")
    for (program, weights, what), rates in seen.items():
        print(f"| {program} | {weights} | {what} | {median[program, weights, what]:.1f} | {min(rates):.1f} to {max(rates):.1f} |")

    def best(weights, *names):
        return max(rate for (program, its, what), rate in median.items()
                   if program == "llama.cpp" and its == weights and what.startswith(names))
    print("\n| ratio | |\n|---|---|")
    for weights in ("f32", "bf16", "int8"):
        print(f"| one stream over llama.cpp, {weights} | {median['simattn', weights, 'decode'] / best(weights, 'decode', 'given'):.2f} |")
    print(f"| prefill over llama.cpp, f32 | {median['simattn', 'f32', 'prefill'] / best('f32', 'prefill'):.2f} |")
    for what in ("decode", "prefill"):
        print(f"| {what} over transformers, f32 | {median['simattn', 'f32', what] / median['transformers', 'f32', what]:.2f} |")
    print(f"| {STREAMS} streams over one, f32 | {median['simattn', 'f32', 'streams'] / median['simattn', 'f32', 'decode']:.2f} |")


if __name__ == "__main__":
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    main(*sys.argv[1:])
