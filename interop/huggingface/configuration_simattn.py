"""The configuration of models that simattn wrote. `simattn` holds the whole of it, as in the model's own config.toml."""

from transformers import PretrainedConfig


class SimattnConfig(PretrainedConfig):
    model_type = "simattn"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        simattn=None,
        vocab_size=0,
        hidden_size=0,
        num_hidden_layers=0,
        max_position_embeddings=0,
        **kwargs,
    ):
        self.simattn = simattn or {}
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.max_position_embeddings = max_position_embeddings
        attention = self.simattn.get("attention", {})
        self.num_attention_heads = attention.get("expanded_heads", attention.get("heads", 1))
        super().__init__(**kwargs)
