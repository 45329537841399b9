"""Decoder language models that simattn wrote, for `transformers`: MHA, GQA, MQA, SAS, MLA, TPA and MFA.

Written to be read beside simattn's own layers: parameters have the same names. Keys and values are cached as attention
reads them, so a step computes only its own tokens.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_simattn import SimattnConfig

# What a result calls the cache: `cache` from transformers 5.24 on, `past_key_values` before.
CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"


def frequencies(model, rotary_dim, base):
    """Radians per position of each pair of features."""
    plain = base ** (-torch.arange(0, rotary_dim, 2, dtype=torch.float64) / rotary_dim)
    scaling = model.get("rope_scaling", {"kind": "none"})
    if scaling["kind"] == "linear":
        return plain / scaling["factor"]
    if scaling["kind"] == "llama3":
        low, high = scaling["low_frequency_factor"], scaling["high_frequency_factor"]
        turns = scaling["original_context"] * plain / math.tau
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return plain * (kept + (1 - kept) / scaling["factor"])
    return plain


def rotation(model):
    """How many features rotate and their base; None where nothing does."""
    a = model["attention"]
    if model.get("positions", "rotary") == "learned" or a.get("rope", "after") == "none":
        return None
    if a["kind"] == "mla":
        width = a["rope_head_dim"]
    elif a["kind"] == "sas" and a.get("rope", "after") == "after":
        width = a["expanded_head_dim"]
    else:
        width = a["head_dim"]
    return a.get("rotary_dim", width), a.get("rope_base", 10000.0)


def rotate(x, table):
    """Turns the first features of x [B, T, H, D], half-split; the rest passes unchanged."""
    if table is None:
        return x
    cos, sin = (t.to(x.dtype).unsqueeze(2) for t in table)
    half = cos.shape[-1]
    x1, x2, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin, rest], dim=-1)


def rms_norm(x, weight, epsilon):
    scaled = x.float()
    scaled = scaled * torch.rsqrt(scaled.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * scaled.to(x.dtype)


class Context:
    """What the layers of one pass share: rotations, mask [B, 1, T, S] and cache."""

    def __init__(self, table, mask, cache):
        self.table, self.mask, self.cache = table, mask, cache

    def attend(self, layer, q, k, v):
        """q, k, v [B, T, heads, width] → [B, T, heads, width of v]; the scale is 1/√(width of q)."""
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        if self.cache is not None:
            k, v = self.cache.update(k, v, layer)
        shared = q.shape[1] // k.shape[1]
        k, v = (t.repeat_interleave(shared, dim=1) if shared > 1 else t for t in (k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(~self.mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(v.dtype)
        return (weights @ v).transpose(1, 2)


class Norm(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(model["width"]))
        layer = model.get("norm", "layer") == "layer"
        self.bias = nn.Parameter(torch.zeros(model["width"])) if layer else None
        self.epsilon = model.get("norm_epsilon", 1e-5)

    def forward(self, x):
        if self.bias is None:
            return rms_norm(x, self.weight, self.epsilon)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class FeedForward(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.form = model.get("mlp", "gelu")
        width, bias = model["width"], model.get("bias", True)
        gated = self.form == "swiglu"
        inner = model.get("mlp_width") or (8 * width // 3 if gated else 4 * width)
        self.gate = nn.Linear(width, inner, bias) if gated else None
        self.up = nn.Linear(width, inner, bias)
        self.down = nn.Linear(inner, width, bias)

    def forward(self, x):
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))
        approximate = "tanh" if self.form == "gelu_tanh" else "none"
        return self.down(F.gelu(self.up(x), approximate=approximate))


class Projections(nn.Module):
    """q, k, v and output of MHA, GQA, MQA and SAS, with the norms on q and k where a model has them."""

    def __init__(self, model, heads, kv_heads, head_dim, kept_heads):
        super().__init__()
        width, bias = model["width"], model.get("bias", True)
        project = model.get("qkv_bias", bias)
        self.q = nn.Linear(width, heads * head_dim, project)
        self.k = nn.Linear(width, kv_heads * head_dim, project)
        self.v = nn.Linear(width, kv_heads * head_dim, project)
        self.out = nn.Linear(kept_heads * head_dim, width, model.get("out_bias", bias))
        normed = model.get("qk_norm", False)
        self.q_norm = nn.Parameter(torch.ones(head_dim)) if normed else None
        self.k_norm = nn.Parameter(torch.ones(head_dim)) if normed else None
        self.head_dim, self.epsilon = head_dim, model.get("norm_epsilon", 1e-5)

    def project(self, x):
        q, k, v = (layer(x).unflatten(-1, (-1, self.head_dim)) for layer in (self.q, self.k, self.v))
        if self.q_norm is not None:
            q, k = rms_norm(q, self.q_norm, self.epsilon), rms_norm(k, self.k_norm, self.epsilon)
        return q, k, v


class GroupedAttention(Projections):
    def __init__(self, model, layer):
        a = model["attention"]
        kv_heads = {"mha": a["heads"], "mqa": 1}.get(a["kind"], a.get("kv_heads"))
        super().__init__(model, a["heads"], kv_heads, a["head_dim"], a["heads"])
        self.layer = layer

    def forward(self, x, context):
        q, k, v = self.project(x)
        q, k = rotate(q, context.table), rotate(k, context.table)
        return self.out(context.attend(self.layer, q, k, v).flatten(-2))


class Convolution(nn.Module):
    """Over one token's features, heads as channels."""

    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x):
        return F.conv1d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


class Expansion(nn.Module):
    def __init__(self, a, heads, features):
        super().__init__()
        many, wide = a["expanded_heads"], a["expanded_head_dim"]
        if a.get("expand_heads", True):
            self.heads1 = Convolution(heads, many, a["kernel_size"])
            self.heads2 = Convolution(many, many, a["kernel_size"])
        else:
            self.heads1 = self.heads2 = None
        if features and a.get("expand_features", True):
            self.features1 = nn.Linear(a["head_dim"], wide)
            self.features2 = nn.Linear(wide, wide)
        else:
            self.features1 = self.features2 = None
        self.residual, self.relu = a.get("residual", True), a.get("relu", True)

    def stage(self, first, second, x):
        x = first(x)
        y = second(F.relu(x) if self.relu else x)
        return x + y if self.residual else y

    def forward(self, x):
        if self.heads1 is not None:
            batch, tokens = x.shape[:2]
            x = self.stage(self.heads1, self.heads2, x.flatten(0, 1)).unflatten(0, (batch, tokens))
        if self.features1 is not None:
            x = self.stage(self.features1, self.features2, x)
        return x


class SasAttention(Projections):
    """Simulated attention scores, arXiv 2507.07694."""

    def __init__(self, model, layer):
        a = model["attention"]
        heads, kv_heads = a["heads"], a.get("kv_heads", a["heads"])
        self_full = a.get("aggregation", "peaa") == "full"
        kept = a["expanded_heads"] if self_full else heads
        super().__init__(model, heads, kv_heads, a["head_dim"], kept)
        self.expand_q = Expansion(a, heads, True)
        self.expand_k = Expansion(a, kv_heads, True)
        self.expand_v = Expansion(a, kv_heads, False)
        self.heads, self.full, self.layer = heads, self_full, layer
        self.before = a.get("rope", "after") == "before"

    def forward(self, x, context):
        q, k, v = self.project(x)
        if self.before:
            q, k = rotate(q, context.table), rotate(k, context.table)
        q, k, v = self.expand_q(q), self.expand_k(k), self.expand_v(v)
        if not self.before:
            q, k = rotate(q, context.table), rotate(k, context.table)
        y = context.attend(self.layer, q, k, v)
        if not self.full:
            # Averaging the groups before the one projection is the same as after it.
            y = y.unflatten(2, (-1, self.heads)).mean(2)
        return self.out(y.flatten(-2))


class LatentAttention(nn.Module):
    """Multi-head latent attention, arXiv 2405.04434."""

    def __init__(self, model, layer):
        super().__init__()
        a, width = model["attention"], model["width"]
        self.heads, self.layer = a["heads"], layer
        self.nope, self.rope, self.value = a["nope_head_dim"], a["rope_head_dim"], a["value_head_dim"]
        self.kv_rank = a["kv_rank"]
        self.q_down = nn.Linear(width, a["query_rank"], False)
        self.q_norm = nn.Parameter(torch.ones(a["query_rank"]))
        self.q_up = nn.Linear(a["query_rank"], self.heads * (self.nope + self.rope), False)
        self.kv_down = nn.Linear(width, self.kv_rank + self.rope, False)
        self.kv_norm = nn.Parameter(torch.ones(self.kv_rank))
        self.kv_up = nn.Linear(self.kv_rank, self.heads * (self.nope + self.value), False)
        self.out = nn.Linear(self.heads * self.value, width, False)

    def forward(self, x, context):
        q = self.q_up(rms_norm(self.q_down(x), self.q_norm, 1e-6)).unflatten(-1, (self.heads, -1))
        q_nope, q_rope = q.split([self.nope, self.rope], dim=-1)
        latent, k_rope = self.kv_down(x).split([self.kv_rank, self.rope], dim=-1)
        k_rope = rotate(k_rope.unsqueeze(2), context.table).expand(-1, -1, self.heads, -1)
        kv = self.kv_up(rms_norm(latent, self.kv_norm, 1e-6)).unflatten(-1, (self.heads, -1))
        k_nope, v = kv.split([self.nope, self.value], dim=-1)
        q = torch.cat([q_nope, rotate(q_rope, context.table)], dim=-1)
        k = torch.cat([k_nope, k_rope], dim=-1)
        return self.out(context.attend(self.layer, q, k, v).flatten(-2))


class Factors(nn.Module):
    def __init__(self, width, heads, head_dim, rank):
        super().__init__()
        self.a = nn.Linear(width, heads * rank, False)
        self.b = nn.Linear(width, rank * head_dim, False)
        self.heads, self.rank = heads, rank

    def forward(self, x, table):
        a = self.a(x).unflatten(-1, (self.heads, self.rank))
        b = rotate(self.b(x).unflatten(-1, (self.rank, -1)), table)
        return a @ b / self.rank


class TensorProductAttention(nn.Module):
    """Tensor product attention, arXiv 2501.06425."""

    def __init__(self, model, layer):
        super().__init__()
        a, width = model["attention"], model["width"]
        self.heads, self.layer = a["heads"], layer
        factors = lambda rank: Factors(width, a["heads"], a["head_dim"], rank)
        full = a.get("query_rank") is not None
        self.q = None if full else nn.Linear(width, a["heads"] * a["head_dim"], False)
        self.q_factors = factors(a["query_rank"]) if full else None
        self.k_factors = factors(a["kv_rank"])
        self.v_factors = factors(a["kv_rank"])
        self.out = nn.Linear(a["heads"] * a["head_dim"], width, False)

    def forward(self, x, context):
        if self.q is None:
            q = self.q_factors(x, context.table)
        else:
            q = rotate(self.q(x).unflatten(-1, (self.heads, -1)), context.table)
        k, v = self.k_factors(x, context.table), self.v_factors(x, None)
        return self.out(context.attend(self.layer, q, k, v).flatten(-2))


class FactorisedAttention(nn.Module):
    """Multi-matrix factorisation attention, arXiv 2412.19255."""

    def __init__(self, model, layer):
        super().__init__()
        a, width = model["attention"], model["width"]
        self.heads, self.layer = a["heads"], layer
        self.q_down = nn.Linear(width, a["query_rank"], False)
        self.q_norm = nn.Parameter(torch.ones(a["query_rank"]))
        self.q_up = nn.Linear(a["query_rank"], a["heads"] * a["head_dim"], False)
        self.k = nn.Linear(width, a["head_dim"], False)
        self.v = nn.Linear(width, a["head_dim"], False)
        self.out = nn.Linear(a["heads"] * a["head_dim"], width, False)

    def forward(self, x, context):
        q = self.q_up(rms_norm(self.q_down(x), self.q_norm, 1e-6)).unflatten(-1, (self.heads, -1))
        k, v = self.k(x).unsqueeze(2), self.v(x).unsqueeze(2)
        q, k = rotate(q, context.table), rotate(k, context.table)
        return self.out(context.attend(self.layer, q, k, v).flatten(-2))


ATTENTION = {
    "mha": GroupedAttention,
    "gqa": GroupedAttention,
    "mqa": GroupedAttention,
    "sas": SasAttention,
    "mla": LatentAttention,
    "tpa": TensorProductAttention,
    "mfa": FactorisedAttention,
}


class Block(nn.Module):
    def __init__(self, model, layer):
        super().__init__()
        self.attention_norm = Norm(model)
        self.attention = ATTENTION[model["attention"]["kind"]](model, layer)
        self.mlp_norm = Norm(model)
        self.mlp = FeedForward(model)
        self.parallel = model.get("parallel_residual", False)

    def forward(self, x, context):
        attended = x + self.attention(self.attention_norm(x), context)
        return attended + self.mlp(self.mlp_norm(x if self.parallel else attended))


class SimattnForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = SimattnConfig
    base_model_prefix = ""
    _no_split_modules = ["Block"]
    _tied_weights_keys = {"head.weight": "embedding.weight"}

    def __init__(self, config):
        super().__init__(config)
        model = config.simattn
        width = model["width"]
        self.embedding = nn.Embedding(model["vocabulary"], width)
        learned = model.get("positions", "rotary") == "learned"
        self.positions = nn.Embedding(model["context"], width) if learned else None
        self.layers = nn.ModuleList(Block(model, i) for i in range(model["layers"]))
        self.norm = Norm(model)
        self.head = nn.Linear(width, model["vocabulary"], bias=False)
        self.post_init()

    def _init_weights(self, module):
        """New weights are simattn's affair; a loaded model has all of its own."""

    def get_input_embeddings(self):
        return self.embedding

    def set_input_embeddings(self, value):
        self.embedding = value

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, value):
        self.head = value

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        logits_to_keep=0,
        return_dict=None,
        cache=None,
        **kwargs,
    ):
        """`cache` and `past_key_values` are two names of one thing, the new and the old one."""
        for name, value in kwargs.items():
            if isinstance(value, Cache):
                raise TypeError(f"a cache is given as {name}, which this model does not know")
        cache = past_key_values if cache is None else cache
        x = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        batch, tokens = x.shape[:2]
        if use_cache and cache is None:
            cache = DynamicCache()
        seen = cache.get_seq_length() if cache is not None else 0
        if position_ids is None:
            position_ids = torch.arange(seen, seen + tokens, device=x.device).unsqueeze(0)
        if self.positions is not None:
            x = x + self.positions(position_ids)
        context = Context(self.table(position_ids), self.mask(attention_mask, seen, tokens, x), cache)
        for layer in self.layers:
            x = layer(x, context)
        x = self.norm(x)
        if isinstance(logits_to_keep, int):
            x = x[:, -logits_to_keep:] if logits_to_keep else x
        else:
            x = x[:, logits_to_keep]
        logits = self.head(x)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten())
        result = CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: cache})
        return result if return_dict in (None, True) else result.to_tuple()

    def table(self, position_ids):
        """Cosines and sines [B, T, R/2], from angles in float64."""
        turned = rotation(self.config.simattn)
        if turned is None:
            return None
        # Made anew in every pass: not a buffer, which loading in another type would round.
        angles = position_ids.double().cpu()[..., None] * frequencies(self.config.simattn, *turned)
        return tuple(f(angles).float().to(position_ids.device) for f in (torch.cos, torch.sin))

    def mask(self, attention_mask, seen, tokens, x):
        """Which keys each query sees: those up to itself that are no padding."""
        if attention_mask is not None and attention_mask.dim() == 4:
            return attention_mask if attention_mask.dtype == torch.bool else attention_mask == 0
        places = torch.arange(seen + tokens, device=x.device)
        visible = (places[None, :] <= places[seen:, None])[None, None]
        if attention_mask is not None:
            visible = visible & attention_mask[:, None, None, : seen + tokens].bool()
        return visible
