"""Ten prompts, 64 tokens each, the likeliest every time: `simattn generate` and `transformers`.

    python interop/serving/greedy.py BINARY MODEL HF_MODEL

MODEL is a folder that `simattn convert from-hf HF_MODEL` wrote. Both must write the same, up to the first place where the two
likeliest tokens lie within 1e-3 of each other. Needs the packages transformers and torch. Exits with 1 where they do not.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

PROMPTS = ["The capital of France is", "Once upon a time", "def fibonacci(n):", "Water boils at", "In 1969, the first",
           "My favourite recipe begins with", "The three laws of motion are", "Dear Sir or Madam,", "1, 2, 3, 4,", "She opened the door and"]


def main(binary, model, hf_model):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    with tempfile.TemporaryDirectory() as place:
        file = pathlib.Path(place, "prompts.jsonl")
        file.write_text("".join(json.dumps(prompt) + "\n" for prompt in PROMPTS))
        out = subprocess.run([binary, "generate", model, "--file", file, "--json", "--likeliest", "2", "--tokens", "64", "--device",
                              "cpu"], check=True, capture_output=True, text=True).stdout
    ours = {answer["prompt"]: answer["tokens"] for answer in map(json.loads, out.splitlines())}
    tokenizer = AutoTokenizer.from_pretrained(hf_model)
    theirs = AutoModelForCausalLM.from_pretrained(hf_model, dtype=torch.float32)
    wrong = compared = 0
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        new = theirs.generate(**ids, max_new_tokens=64, do_sample=False)[0, ids["input_ids"].shape[1]:].tolist()
        for place, (token, expected) in enumerate(zip(ours[prompt], new)):
            first, second = (likely["logprob"] for likely in token["likeliest"])
            if token["id"] != expected:
                if first - second > 1e-3:
                    wrong += 1
                    print(f"{prompt!r}, token {place}: {token['text']!r}, not {tokenizer.decode([expected])!r}")
                break
            compared += 1
    print(f"{compared} tokens of {len(PROMPTS)} prompts compared, {wrong} prompts differ")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
