"""LSTMs over sentences, as encoder and as decoder (Kim et al. 2018, arXiv 1802.02550; Skip-VAE's code)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vaebench.errors import UserError
from vaebench.ranges import Count, Momentum
from vaebench.text import State, TokenSampler, generate, lengths, trim


class SentenceLSTM(nn.LSTM):
    """One layer, `[N, L, F]` to `[N, L, H]`; always in training mode, from which evaluation does not differ,
    and in which alone cuDNN gives gradients."""

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__(in_features, hidden, batch_first=True)

    def train(self, mode: bool = True) -> SentenceLSTM:
        super().train(True)
        return self


class LSTMEncoder(nn.Module):
    """The last state of an LSTM over the embedded tokens, END among them; what is behind END is not seen.

    Outside training it reads only as far as the longest sentence; a training batch is no longer than that.
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
    """p(x|z) = prod_t p(x_t | x_<t, z): h_t = LSTM([w_{t-1}, z]), logits W h_t.

    w are embedded tokens, the first a begin mark; h_0 is linear in z, c_0 zero. `skip` makes the logits
    W [h_t, z], the skip connection of Dieng et al. (2019). In training, `dropout` of w and of h. With no
    latent unit it is a language model. Parameters are `[N, L, V]`, outside training only as far as the
    longest sentence goes; a position's depend on what is before it alone, so that padding changes none.
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
        assert x is not None, "an autoregressive decoder needs the data"
        if not self.training:
            x = trim(x)
        before = torch.cat([self.first(z).unsqueeze(1), x[:, :-1].clamp(min=0)], 1)
        _, h, c = self.begin(z)
        words = self.dropout(self.embedding(before))
        states, _ = self.lstm(beside(words, z), (h.unsqueeze(0), c.unsqueeze(0)))
        return self.logits(self.dropout(states), z)

    def logits(self, states: Tensor, z: Tensor) -> Tensor:
        """`[N, L, V]` of states `[N, L, H]`."""
        return self.output(beside(states, z) if self.skip else states)

    def first(self, z: Tensor) -> Tensor:
        return torch.full((len(z),), self.begin_mark, device=z.device)

    def begin(self, z: Tensor) -> State:
        nothing = z.new_zeros(len(z), self.lstm.hidden_size)
        return z, nothing if self.code is None else self.code(z), nothing

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        z, h, c = state
        words = self.dropout(self.embedding(tokens.clamp(min=0))).unsqueeze(1)
        states, (h, c) = self.lstm(beside(words, z), (h.unsqueeze(0), c.unsqueeze(0)))
        return self.logits(self.dropout(states), z).squeeze(1), (z, h.squeeze(0), c.squeeze(0))

    def sample(self, z: Tensor, pick: TokenSampler) -> Tensor:
        """x ~ p(x|z) at each `z [N, D]`, `[N, L]`."""
        return generate(self, z, pick)


def beside(sequence: Tensor, z: Tensor) -> Tensor:
    """`sequence [N, L, F]` with `z [N, D]` concatenated at every position."""
    return torch.cat([sequence, z.unsqueeze(1).expand(-1, sequence.shape[1], -1)], 2)


def sentence_shape(shape: tuple[int, ...], option: str) -> tuple[int, int]:
    """(L, V) of sentences. Raises UserError where data are something else, in the name of `option`."""
    if len(shape) != 2:
        raise UserError(
            f"{option} works on sentences, and the data have shape {list(shape)}; "
            f"use {option.split('=')[0]}=mlp."
        )
    length, num_tokens = shape
    return length, num_tokens
