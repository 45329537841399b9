"""Operations and bytes of a kernel in one pass, by definition.

Operations count multiplications and additions of products of matrices; bytes count every operand
once, in bfloat16 where nothing else is said: what a kernel cannot do without.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of a layer, and of the decoder around it where `layers` is not zero."""

    batch: int
    seq: int
    heads: int = 12
    expanded_heads: int = 36
    head_dim: int = 64
    expanded_dim: int = 96
    kernel: int = 5
    layers: int = 0
    vocab: int = 50304
    parameters: int = 0

    def of(self, form):
        """The sizes of "sas", "heads-only" or "mha"."""
        if form == "mha":
            return dataclasses.replace(self, expanded_heads=self.heads, expanded_dim=self.head_dim)
        if form == "heads-only":
            return dataclasses.replace(self, expanded_dim=self.head_dim)
        return self

    @property
    def tokens(self):
        return self.batch * self.seq

    @property
    def width(self):
        return self.heads * self.head_dim

    @property
    def rows(self):
        """Rows of the expanded heads."""
        return self.tokens * self.expanded_heads

    @property
    def pairs(self):
        """Pairs of a query and a key that it sees, over all heads; causal."""
        return self.batch * self.expanded_heads * self.seq * (self.seq + 1) / 2


HALF, FLOAT = 2, 4


def attention(s, name):
    """Operations and bytes of an attention kernel, or None."""
    wide, narrow = s.expanded_dim, s.head_dim  # Of q and k, of v.
    # Scores; weights · v; dy · vᵀ and dv alike.
    score, value = 2 * wide, 2 * narrow
    forms = {
        # q, k, v and the output; the log-sum-exp.
        "forward": (score + value, HALF * (2 * wide + 2 * narrow) + FLOAT),
        # Scores, dy · vᵀ, dq; q, k, v, dy, dq; two numbers a row.
        "query_gradients": (2 * score + value, HALF * (3 * wide + 2 * narrow) + 2 * FLOAT),
        # Scores, dy · vᵀ, dv, dk; q, k, v, dy, dk, dv; two numbers a row.
        "key_gradients": (2 * score + 2 * value, HALF * (3 * wide + 3 * narrow) + 2 * FLOAT),
    }
    for part, (operations, size) in forms.items():
        if name in [f"attention_{part}{end}" for end in ["", "_units", "_mma"]]:
            return operations * s.pairs, size * s.rows
    if name in ["attention_deltas", "attention_row_deltas"]:
        # The output; dy, which groups of heads share.
        shared = s.heads / s.expanded_heads
        return 0, s.rows * (HALF * narrow * (1 + shared) + FLOAT)
    return None


def expansion(s, name):
    """Operations and bytes of one call of a kernel of the expansions, a mean where maps differ."""
    n, h, h2, d, d2, k = s.tokens, s.heads, s.expanded_heads, s.head_dim, s.expanded_dim, s.kernel
    convolutions = [2 * k * n * d * h * h2, 2 * k * n * d * h2 * h2]
    maps = [2 * n * h2 * d * d2, 2 * n * h2 * d2 * d2]
    mean = lambda both: sum(both) / 2
    of_convolutions = HALF * n * d * mean([h + h2, 2 * h2])
    of_maps = HALF * n * h2 * mean([d + d2, 2 * d2])
    return {
        "expand_heads_units": (sum(convolutions), HALF * n * d * (h + h2)),
        "expand_features_units": (sum(maps), HALF * n * h2 * (d + d2)),
        "expansion_convolution": (mean(convolutions), of_convolutions),
        "convolution_weight_gradient": (mean(convolutions), of_convolutions),
        "expansion_map": (mean(maps), of_maps),
        "map_weight_gradient": (mean(maps), of_maps),
        # A third each: forward, the same in backward, which keeps the first map's result, and the gradient of the input, which reads
        # both gradients and that result, and keeps a gradient.
        "both_maps_mma": (sum(convolutions), HALF * n * d * (h + 2 * h2)),
        "both_features_mma": (sum(maps), HALF * n * h2 * (d + 2 * d2)),
        "heads_weight_gradient_mma": (mean(convolutions), of_convolutions),
        "features_weight_gradient_mma": (mean(maps), of_maps),
        "average_groups": (0, HALF * n * d * (h2 + h)),
    }.get(name)


def linear_maps(s):
    """Operations and bytes of all products of linear maps, forward and backward."""
    n, c = s.tokens, s.width
    maps = [(c, c)] * 4
    if s.layers:
        maps = (maps + [(c, 4 * c), (4 * c, c)]) * s.layers + [(c, s.vocab)]
    # Forward, the input's gradient and the weight's: three products of the same three matrices.
    operations = sum(6 * n * inputs * outputs for inputs, outputs in maps)
    size = sum(3 * HALF * (n * i + i * o + n * o) for i, o in maps)
    return operations, size


def is_product(name):
    """Whether a kernel multiplies matrices for the linear maps: ours, or cubek's."""
    return "matmul" in name or name.startswith("product")


def of(name, calls, sizes):
    """Operations and bytes of all `calls` of a kernel in a pass forward and backward, or None.

    Those of products are known for all of them together alone; see `linear_maps`.
    """
    if name == "adamw_step":
        # Value and two moments are read and written, the gradient is read.
        return 0, 7 * FLOAT * sizes.parameters if sizes.parameters else None
    if name == "add_bias":
        return (0, calls * 2 * HALF * sizes.tokens * sizes.width) if not sizes.layers else None
    one = attention(sizes, name) or expansion(sizes, name)
    return one and tuple(calls * amount for amount in one)


def add(kernels, sizes):
    """Adds what is known to the kernels of a pass; products of several kernels get a row of all."""
    for kernel in kernels:
        known = of(kernel["kernel"], kernel["calls"], sizes)
        if known:
            kernel["operations"], kernel["bytes"] = known
    products = [kernel for kernel in kernels if is_product(kernel["kernel"])]
    if not products:
        return
    together = products[0]
    if len(products) > 1:
        sums = {key: sum(kernel[key] for kernel in products) for key in ["calls", "forms", "ms"]}
        together = {"kernel": "(all products together)", "again": True} | sums
        kernels.append(together)
    together["operations"], together["bytes"] = linear_maps(sizes)


def training_per_token(parameters, s, layers):
    """The usual count: 6 for each parameter, and attention's products over the visible pairs."""
    pairs = (s.seq + 1) / 2
    of_a_layer = 2 * s.expanded_heads * (s.expanded_dim + s.head_dim) * pairs
    return 6 * parameters + 3 * layers * of_a_layer
