"""GPT-NeoX's forward pass in NumPy and float64, written from the architecture's description, without torch.

Each layer adds attention and MLP, both of the layer's input and each behind a LayerNorm of its own, to that input. The
rows of the fused projection are, head by head, the head's queries, its keys, its values. Rotation is of the first
dimensions of a head only, in halves. The head is a matrix of its own.
"""

import math

import numpy as np


def bfloat16(x):
    """float32 values, rounded to the nearest of 8 significant bits, ties to even."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)).view(
        np.float32
    )


ROUND = {"fp32": np.float32, "neox_fp16": np.float16, "neox_bf16": bfloat16}


def rotary_angles(positions, dims, rope):
    """[positions, dims / 2], with every intermediate result in the format."""
    to = ROUND[rope]
    exponents = np.arange(0, dims, 2, dtype=np.float32) / np.float32(dims)
    inverse_frequencies = to(np.float32(1) / np.float32(10000) ** exponents)
    return to(to(np.arange(positions))[:, None] * inverse_frequencies)


def rotary_tables(positions, dims, rope):
    """Cosines and sines, each [positions, dims], by way of fp32."""
    angles = np.tile(rotary_angles(positions, dims, rope), 2).astype(np.float64)
    return tuple(ROUND[rope](function(angles).astype(np.float32)) for function in (np.cos, np.sin))


def gelu(x, activation):
    if activation == "erf":
        return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(0.79788456 * x * (1 + 0.044715 * x * x)))


def layer_norm(x, weights, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def rotated(x, cosines, sines):
    dims = cosines.shape[-1]
    first, second, rest = x[..., : dims // 2], x[..., dims // 2 : dims], x[..., dims:]
    turned = x[..., :dims] * cosines + np.concatenate((-second, first), -1) * sines
    return np.concatenate((turned, rest), -1)


def attention(x, weights, name, *, heads, tables):
    """`x` is [batch, positions, width], normalized."""
    batch, positions, width = x.shape
    qkv = linear(x, weights, f"{name}.query_key_value").reshape(batch, positions, heads, 3, width // heads)
    query, key, value = np.moveaxis(qkv, (3, 2), (0, 2))
    query, key = rotated(query, *tables), rotated(key, *tables)
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(width // heads)
    scores = np.where(np.tri(positions, dtype=bool), scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    mixed = (shares @ value).swapaxes(1, 2).reshape(batch, positions, width)
    return linear(mixed, weights, f"{name}.dense")


def logits(weights, tokens, *, layers, heads, rotary_dims, activation, rope):
    """[batch, positions, vocabulary]; `weights` as transformers names them, `tokens` [batch, positions]."""
    weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    tables = [table.astype(np.float64) for table in rotary_tables(tokens.shape[1], rotary_dims, rope)]
    x = weights["gpt_neox.embed_in.weight"][tokens]
    for number in range(layers):
        layer = f"gpt_neox.layers.{number}"
        attended = layer_norm(x, weights, f"{layer}.input_layernorm")
        attended = attention(attended, weights, f"{layer}.attention", heads=heads, tables=tables)
        inner = layer_norm(x, weights, f"{layer}.post_attention_layernorm")
        inner = gelu(linear(inner, weights, f"{layer}.mlp.dense_h_to_4h"), activation)
        x = x + attended + linear(inner, weights, f"{layer}.mlp.dense_4h_to_h")
    return layer_norm(x, weights, "gpt_neox.final_layer_norm") @ weights["lm_head.weight"].T
