"""Attention inside windows; knows neither how windows were cut nor the network around it."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from eorestore.layers.windows import relative_position_index


class JointWindowAttention(nn.Module):
    """Self-attention of an optical and a SAR stream, where SAR may correct the optical attention.

        A_O = q_O k_O^T + B      A_S = q_S k_S^T + B      (one relative position bias B for both)
        g   = sigmoid(conv1x1(A_S - A_O))                 (over heads as channels)
        O   = softmax(A_O + g (A_S - A_O)) v_O            S = softmax(A_S) v_S

    The "global fusion" of GLF-CR (Xu et al., ISPRS J. 192, 2022). The gate acts on logits, so that the mask
    of shifted windows holds for both streams.

    Args:
        channels: channels of a token; divisible by `heads`.
        heads: attention heads.
        window: side of a window; a window has window * window tokens.
    """

    index: Tensor

    def __init__(self, channels: int, heads: int, *, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.scaling = (channels // heads) ** -0.5
        self.qkv_optical = nn.Linear(channels, 3 * channels)
        self.qkv_sar = nn.Linear(channels, 3 * channels)
        self.project_optical = nn.Linear(channels, channels)
        self.project_sar = nn.Linear(channels, channels)
        self.gate = nn.Conv2d(heads, heads, 1)
        self.position_bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)
        self.register_buffer("index", relative_position_index(window), persistent=False)

    def forward(self, optical: Tensor, sar: Tensor, *, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attend in both streams.

        Args:
            optical: (batch * windows, token, channel).
            sar: the same shape.
            mask: (windows, token, token), added to the logits of both streams; see `shift_mask`.

        Returns:
            The two streams, each in the shape of `optical`.
        """
        bias = rearrange(self.position_bias[self.index], "query key head -> head query key")
        if mask is not None:
            windows = optical.shape[0] // mask.shape[0]
            bias = bias + mask.repeat(windows, 1, 1)[:, None]
        query, key, value_optical = self._split(self.qkv_optical(optical))
        logits_optical = (query * self.scaling) @ key.transpose(-2, -1) + bias
        query, key, value_sar = self._split(self.qkv_sar(sar))
        logits_sar = (query * self.scaling) @ key.transpose(-2, -1) + bias
        difference = logits_sar - logits_optical
        logits_optical = logits_optical + torch.sigmoid(self.gate(difference)) * difference
        return (
            self.project_optical(_attend(logits_optical, value_optical)),
            self.project_sar(_attend(logits_sar, value_sar)),
        )

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        three = rearrange(qkv, "n token (three head d) -> three n head token d", three=3, head=self.heads)
        return three[0], three[1], three[2]


def _attend(logits: Tensor, values: Tensor) -> Tensor:
    return rearrange(logits.softmax(-1) @ values, "n head token d -> n token (head d)")
