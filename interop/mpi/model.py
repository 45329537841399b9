#!/usr/bin/env python3
"""The table of docs/scale-out.md: efficiency of weak scaling on hosts of 8 GPUs.

Efficiency is the time of computing and updating, over that time plus all communication that nothing
hides. Nobody is late and nothing else uses the wires: these are upper bounds, and none was measured.
"""

BATCH, CONTEXT = 32, 1024          # a micro-batch of one GPU
RATE = 989e12 * 0.40               # operations a second: an H100 in bfloat16, at 40%
MEMORY = 3.35e12 * 0.7             # bytes a second of its memory
NVLINK = 450e9 * 0.8               # bytes a second and direction: between the GPUs of a host
INFINIBAND = 50e9 * 0.9            # of every GPU's own adapter
ETHERNET = 1.25e9 * 0.9            # of a host's one adapter, 10 Gb/s
PCIE = 50e9                        # between a GPU and the host's memory
HOST = 300e9                       # of the host's memory, for all its GPUs
LATENCY = 15e-6                    # of one step between hosts
BUCKET = 100e6                     # bytes; the last bucket has nothing to hide behind

MODELS = {"125M": (12, 768, 125e6), "1.5B": (48, 1600, 1.56e9)}
GPUS = (2, 8, 64, 512)


class Job:
    """One model on some GPUs."""

    def __init__(self, name, gpus, ethernet=False):
        layers, width, self.parameters = MODELS[name]
        operations = (6 * self.parameters + 12 * layers * width * CONTEXT) * BATCH * CONTEXT
        self.micro_batch = operations / RATE
        self.gradient = 4 * self.parameters
        self.update = 28 * self.parameters / MEMORY
        self.local, self.hosts = min(gpus, 8), max(1, gpus // 8)
        self.gpus, self.ethernet = gpus, ethernet

    def half(self):
        """A reduce-scatter or an all-gather: within hosts, then between them."""
        seconds = (self.local - 1) / self.local * self.gradient / NVLINK
        if self.hosts > 1:
            across = (self.hosts - 1) / self.hosts * self.gradient / self.local
            seconds += across * self.local / ETHERNET if self.ethernet else across / INFINIBAND
            seconds += (self.hosts - 1) * LATENCY * max(1, self.gradient / BUCKET)
        return seconds

    def through_host(self):
        """Gradients down to the host, four passes over its memory, the wires, and up again."""
        wires = 2 * (self.hosts - 1) / self.hosts * self.gradient / self.local / INFINIBAND
        return 2 * self.gradient / PCIE + 4 * self.local * self.gradient / HOST + wires

    def exposed(self, seconds):
        """What of an exchange backward does not hide."""
        last = min(1.0, BUCKET / self.gradient)
        return max(seconds * last, seconds - 0.9 * self.micro_batch * 2 / 3)

    def efficiency(self, exchange, micro_batches=1, update=None):
        computing = micro_batches * self.micro_batch
        update = self.update if update is None else update
        return min(1.0, (computing + self.update) / (computing + update + exchange))


WAYS = {
    "InfiniBand, sums on the GPUs after backward": lambda j: j.efficiency(2 * j.half()),
    "InfiniBand, sums on the GPUs, overlapped": lambda j: j.efficiency(j.exposed(2 * j.half())),
    "InfiniBand, ZeRO-1, sums overlapped":
        lambda j: j.efficiency(j.exposed(j.half()) + j.half(), update=j.update / j.gpus),
    "through host memory, 1 micro-batch": lambda j: j.efficiency(j.through_host()),
    "through host memory, 1 micro-batch, overlapped":
        lambda j: j.efficiency(j.exposed(j.through_host())),
    "through host memory, 8 micro-batches": lambda j: j.efficiency(j.through_host(), 8),
    "through host memory, 8 micro-batches, overlapped":
        lambda j: j.efficiency(j.exposed(j.through_host()), 8),
}


def row(name, way, ethernet=False):
    return " ".join(f"{way(Job(name, gpus, ethernet)):4.0%}" for gpus in GPUS)


def main():
    print(f"{'efficiency on ' + ', '.join(map(str, GPUS)) + ' GPUs':52} {'125M':22} 1.5B")
    for title, way in WAYS.items():
        print(f"{title:52} {row('125M', way):22} {row('1.5B', way)}")
    overlapped = WAYS["InfiniBand, sums on the GPUs, overlapped"]
    print(f"{'10 GbE, sums on the GPUs, overlapped':52} {row('125M', overlapped, True):22} "
          f"{row('1.5B', overlapped, True)}")
    for name in MODELS:
        for gpus in GPUS[2:]:
            job = Job(name, gpus, ethernet=True)
            needed = next(n for n in range(1, 10_000)
                          if job.efficiency(job.exposed(2 * job.half()), n) >= 0.9)
            print(f"10 GbE, {name}, {gpus} GPUs: {needed} micro-batches for 90%")


if __name__ == "__main__":
    main()
