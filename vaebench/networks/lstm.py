"""LSTM encoder and decoder of sentences (Kim et al. 2018, arXiv 1802.02550; Skip-VAE's code)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vaebench.errors import UserError
from vaebench.ranges import Count, Momentum
from vaebench.text import State, TokenSampler, generate, lengths, trim


class SentenceLSTM(nn.LSTM):
    """LSTM of one layer, `[N, L, F]` to `[N, L, H]`, which is always in training mode.

    Its output does not depend on the mode, but cuDNN computes gradients only in training mode.
    """

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__(in_features, hidden, batch_first=True)

    def train(self, mode: bool = True) -> SentenceLSTM:
        super().train(True)
        return self


class LSTMEncoder(nn.Module):
    """Encoder that returns the state of an LSTM at END; the padding after END has no effect.

    In evaluation the input is cut to the longest sentence. A training batch is already no longer than that.
    """

    kinds: ClassVar = frozenset({"tokens"})

    def __init__(self, input_shape: tuple[int, ...], *, embedding: Count, hidden: Count) -> None:
        super().__init__()
        _, num_tokens = sentence_shape(input_shape, "model/encoder=lstm")
        self.embedding = nn.Embedding(num_tokens, embedding)
        self.lstm = SentenceLSTM(embedding, hidden)
        self.out_features = hidden

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            x = trim(x)
        states, _ = self.lstm(self.embedding(x.clamp(min=0)))
        last = (lengths(x) - 1).view(-1, 1, 1).expand(-1, 1, states.shape[-1])
        return states.gather(1, last).squeeze(1)


class LSTMDecoder(nn.Module):
    """Decoder p(x|z) = prod_t p(x_t | x_<t, z) with h_t = LSTM([w_{t-1}, z]) and logits W h_t.

    w are embedded tokens; w_0 is the begin mark. h_0 is linear in z, c_0 is zero. `skip` changes the logits
    to W [h_t, z], the skip connection of Dieng et al. (2019). In training, `dropout` applies to w and h. With
    `latent_dim` 0 it is a language model. The logits are `[N, L, V]`; in evaluation L is the length of the
    longest sentence. The logits of a position depend on earlier tokens only, so padding has no effect.
    """

    is_autoregressive = True
    kinds: ClassVar = frozenset({"tokens"})

    def __init__(
        self,
        latent_dim: int,
        output_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
        *,
        embedding: Count,
        hidden: Count,
        dropout: Momentum,
        skip: bool,
    ) -> None:
        super().__init__()
        self.length, num_tokens = sentence_shape(output_shape, "model/decoder=lstm")
        self.begin_mark = num_tokens
        self.skip = skip
        self.embedding = nn.Embedding(num_tokens + 1, embedding)
        self.code = nn.Linear(latent_dim, hidden) if latent_dim else None
        self.lstm = SentenceLSTM(embedding + latent_dim, hidden)
        self.output = nn.Linear(hidden + skip * latent_dim, num_tokens)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        assert x is not None, "an autoregressive decoder needs x"
        if not self.training:
            x = trim(x)
        before = torch.cat([self.first(z).unsqueeze(1), x[:, :-1].clamp(min=0)], 1)
        _, h, c = self.begin(z)
        words = self.dropout(self.embedding(before))
        states, _ = self.lstm(beside(words, z), (h.unsqueeze(0), c.unsqueeze(0)))
        return self.logits(self.dropout(states), z)

    def logits(self, states: Tensor, z: Tensor) -> Tensor:
        """Map states `[N, L, H]` to logits `[N, L, V]`."""
        return self.output(beside(states, z) if self.skip else states)

    def first(self, z: Tensor) -> Tensor:
        """Return the begin mark of each sentence, `[N]`."""
        return torch.full((len(z),), self.begin_mark, device=z.device)

    def begin(self, z: Tensor) -> State:
        """Return the state (z, h_0, c_0)."""
        zeros = z.new_zeros(len(z), self.lstm.hidden_size)
        return z, zeros if self.code is None else self.code(z), zeros

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits of the token after `tokens [N]`, `[N, V]`, and the next state."""
        z, h, c = state
        words = self.dropout(self.embedding(tokens.clamp(min=0))).unsqueeze(1)
        states, (h, c) = self.lstm(beside(words, z), (h.unsqueeze(0), c.unsqueeze(0)))
        return self.logits(self.dropout(states), z).squeeze(1), (z, h.squeeze(0), c.squeeze(0))

    def sample(self, z: Tensor, pick: TokenSampler) -> Tensor:
        """Sample a sentence x ~ p(x|z) for each code `z [N, D]`, `[N, L]`."""
        return generate(self, z, pick)


def beside(sequence: Tensor, z: Tensor) -> Tensor:
    """Concatenate `z [N, D]` to every position of `sequence [N, L, F]`."""
    return torch.cat([sequence, z.unsqueeze(1).expand(-1, sequence.shape[1], -1)], 2)


def sentence_shape(shape: tuple[int, ...], option: str) -> tuple[int, int]:
    """Return `shape` as (L, V). Raises UserError, naming `option`, if it is not the shape of sentences."""
    if len(shape) != 2:
        raise UserError(
            f"{option} works on sentences, but the data have shape {list(shape)}; "
            f"use {option.split('=')[0]}=mlp."
        )
    length, num_tokens = shape
    return length, num_tokens
