#!/usr/bin/env python3
"""The Python half of simattn's parity tests: makes tiny random models, and scores folders with transformers.

    parity.py make OUT          OUT/NAME/ for each family, and OUT/NAME.reference/ with what transformers computes
    parity.py score DIR...      DIR.reference/ for each folder, loaded with trust_remote_code
    parity.py logits MODEL IDS  MODEL's logits for the token ids in IDS.json, as IDS.reference/
    parity.py perplexity MODEL TEXT CONTEXT   windows that do not overlap, as `simattn eval` cuts them
"""
import json
import math
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

VOCABULARY, CONTEXT, PROMPT, NEW = 300, 128, 24, 64
LLAMA = dict(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=6,
             max_position_embeddings=CONTEXT, bos_token_id=None, eos_token_id=256, pad_token_id=None)
NEOX = dict(LLAMA, num_attention_heads=4)
GPT2 = dict(vocab_size=VOCABULARY, n_embd=48, n_layer=2, n_head=4, n_positions=CONTEXT, bos_token_id=None, eos_token_id=256)
LLAMA3 = dict(rope_type="llama3", rope_theta=5000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)


def families():
    t = transformers
    yield "llama", t.LlamaConfig(**LLAMA, num_key_value_heads=2, rope_parameters=LLAMA3), "float32", None
    yield "llama-biased", t.LlamaConfig(**LLAMA, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                                        rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=2.0)), "float16", "50KB"
    yield "llama-mqa", t.LlamaConfig(**LLAMA, num_key_value_heads=1, head_dim=16), "float32", None
    yield "mistral", t.MistralConfig(**LLAMA, num_key_value_heads=3, sliding_window=None), "bfloat16", None
    yield "qwen2", t.Qwen2Config(**LLAMA, num_key_value_heads=2, tie_word_embeddings=True), "float32", "40KB"
    yield "qwen3", t.Qwen3Config(**LLAMA, num_key_value_heads=2, head_dim=12), "float32", None
    yield "pythia", t.GPTNeoXConfig(**NEOX, rotary_pct=0.5), "float16", None
    yield "neox", t.GPTNeoXConfig(**NEOX, use_parallel_residual=False, attention_bias=False, rotary_pct=1.0,
                                  hidden_act="gelu_new"), "float32", None
    yield "gpt2", t.GPT2Config(**GPT2), "float32", None
    yield "gpt2-exact", t.GPT2Config(**GPT2, n_inner=100, activation_function="gelu", tie_word_embeddings=False), "bfloat16", None


def ids():
    return torch.tensor([[(17 * i * i + 5 * i + 3) % 256 for i in range(PROMPT)]])


@torch.no_grad()
def reference(model, folder):
    """Logits of the prompt, and the tokens that greedy generation adds, cached and not."""
    model.eval()
    prompt = ids()
    logits = model(prompt).logits[0].float()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    ask = dict(do_sample=False, max_new_tokens=NEW, attention_mask=torch.ones_like(prompt))
    cached = model.generate(prompt, **ask)[0, PROMPT:]
    plain = model.generate(prompt, use_cache=False, **ask)[0, PROMPT:]
    write(folder, logits=logits, prompt=prompt[0].float(), greedy=cached.float(), greedy_uncached=plain.float())


def write(folder, **tensors):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous() for name, t in tensors.items()}, str(folder / "model.safetensors"))


def make(out):
    for seed, (name, config, dtype, shard) in enumerate(families()):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms too, which start at 0 and 1
                parameter.add_(torch.randn_like(parameter) * (0.1 if parameter.dim() == 1 else 0.2 / parameter.shape[-1] ** 0.5))
        model.to(getattr(torch, dtype))
        model.save_pretrained(out / name, **({"max_shard_size": shard} if shard else {}))
        reference(model.float(), out / f"{name}.reference")
    print(transformers.__version__)


def score(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
    reference(model, Path(f"{folder}.reference"))
    transformers.AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def main(arguments):
    command, *rest = arguments
    if command == "make":
        make(Path(rest[0]))
    elif command == "score":
        for folder in rest:
            score(folder)
    elif command == "logits":
        model = AutoModelForCausalLM.from_pretrained(rest[0], dtype=torch.float32, trust_remote_code=True).eval()
        tokens = torch.tensor([json.loads(Path(rest[1]).read_text())])
        write(Path(f"{rest[1]}.reference"), logits=model(tokens).logits[0])
    elif command == "perplexity":
        model = AutoModelForCausalLM.from_pretrained(rest[0], dtype=torch.float32, trust_remote_code=True).eval()
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(f"{rest[0]}/tokenizer.json")
        end = tokenizer.token_to_id("<|endoftext|>")
        targets = tokenizer.encode(Path(rest[1]).read_text(), add_special_tokens=False).ids + [end]
        # A window's first input is the token before its first target; the text's first, the end of text.
        inputs = [end] + targets[:-1]
        context, loss, count = int(rest[2]), 0.0, 0
        for start in range(0, len(targets), context):
            logits = model(torch.tensor([inputs[start : start + context]])).logits[0].double()
            wanted = torch.tensor(targets[start : start + context])
            loss += torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
            count += len(wanted)
        print(f"tokens {count} loss {loss / count:.6f} perplexity {math.exp(loss / count):.6f}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    transformers.logging.set_verbosity_error()
    main(sys.argv[1:])
