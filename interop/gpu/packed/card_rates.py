"""What PyTorch reaches on the card: a large product and a copy. Prints JSON, one object a line.

    python card_rates.py DEVICE [SIZE]

The product has the size of the one that simattn measures its own rate with, and is timed alike: 32
of them between two waits, the best of four times.
"""

import json
import sys
import time

import torch

DEVICE, SIZE = sys.argv[1].split(":")[0], int(sys.argv[2]) if len(sys.argv) > 2 else 4096
TIMES, REPETITIONS = 32, 4


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def seconds(work):
    """Of one `work`, the best of some turns."""
    best = float("inf")
    for _ in range(REPETITIONS):
        wait()
        started = time.perf_counter()
        for _ in range(TIMES):
            work()
        wait()
        best = min(best, time.perf_counter() - started)
    return best / TIMES


def main():
    left, right = (torch.rand(SIZE, SIZE, device=DEVICE).bfloat16() for _ in range(2))
    out = torch.empty_like(left)
    product = 2 * SIZE**3 / seconds(lambda: torch.matmul(left, right, out=out))
    # 16 products' worth of values, which no cache holds.
    values = torch.zeros(16 * SIZE * SIZE, dtype=torch.bfloat16, device=DEVICE)
    to = torch.empty_like(values)
    copied = 2 * values.nbytes / seconds(lambda: to.copy_(values))
    card = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    shared = dict(torch=torch.__version__, card=card)
    print(json.dumps(dict(what="product", gflops=round(product / 1e9, 1), size=SIZE, **shared)))
    print(json.dumps(dict(what="copy", gb_per_s=round(copied / 1e9, 1), **shared)))


if __name__ == "__main__":
    main()
