"""GLF-CR against a second implementation: the published description step by step, on the official names."""

import pytest
import torch
import torch.nn.functional as F

from eorestore.models.glf_cr import GLFCR, GLFCRSettings
from eorestore.models.glf_cr_weights import official_name

CHANNELS, GROWTH, BLOCKS, LAYERS, HEADS, WINDOW = 8, 8, 2, 3, 2, 4


class Description:
    """The network in plain function calls; windows are looped over and neighbours looked up one by one."""

    def __init__(self, model):
        self.weights = {official_name(key): value for key, value in model.state_dict().items()}

    def conv(self, name, x):
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(x, weight, self.weights[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def linear(self, name, x):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def logits(self, name, tokens, places, suffix):
        query, key, value = (
            part.view(-1, HEADS, GROWTH // HEADS).transpose(0, 1)
            for part in self.linear(f"{name}.attn.qkv{suffix}", tokens).split(GROWTH, dim=-1)
        )
        table = self.weights[f"{name}.attn.relative_position_bias_table"]
        logits = query @ key.transpose(1, 2) / (GROWTH // HEADS) ** 0.5
        for a, (ya, xa, side_a) in enumerate(places):
            for b, (yb, xb, side_b) in enumerate(places):
                row = (ya - yb + WINDOW - 1) * (2 * WINDOW - 1) + xa - xb + WINDOW - 1
                logits[:, a, b] += table[row] + (0 if side_a == side_b else -100)
        return logits, value

    def attend(self, name, optical, sar, shift):
        _, _, height, width = optical.shape
        out = [torch.zeros_like(optical), torch.zeros_like(sar)]
        for top in range(0, height, WINDOW):
            for left in range(0, width, WINDOW):
                ys = [(top + dy + shift) for dy in range(WINDOW) for _ in range(WINDOW)]
                xs = [(left + dx + shift) for _ in range(WINDOW) for dx in range(WINDOW)]
                places = [
                    (y - top - shift, x - left - shift, (y >= height, x >= width)) for y, x in zip(ys, xs, strict=True)
                ]
                ys, xs = torch.tensor(ys) % height, torch.tensor(xs) % width
                a_o, v_o = self.logits(name, optical[0][:, ys, xs].T, places, "")
                a_s, v_s = self.logits(name, sar[0][:, ys, xs].T, places, "_SAR")
                a_o = a_o + self.conv(f"{name}.attn.attn_fuse_1x1conv", (a_s - a_o)[None])[0].sigmoid() * (a_s - a_o)
                for stream, logits, value, suffix in ((0, a_o, v_o, ""), (1, a_s, v_s, "_SAR")):
                    seen = (logits.softmax(-1) @ value).transpose(0, 1).reshape(-1, GROWTH)
                    out[stream][0][:, ys, xs] = self.linear(f"{name}.attn.proj{suffix}", seen).T
        return out

    def block(self, i, optical, sar):
        dense = [optical, sar]
        for c in range(LAYERS):
            name = f"RDBs.{i}.convs.{c}"
            new = [self.conv(f"{name}.conv{suffix}.0", x).relu() for suffix, x in zip(("", "_SAR"), dense, strict=True)]
            seen = self.attend(name, *new, shift=WINDOW // 2 if c % 2 else 0)
            for stream, suffix in enumerate(("", "_SAR")):
                x = (new[stream] + seen[stream]).permute(0, 2, 3, 1)
                norm = [self.weights[f"{name}.norm2{suffix}.{kind}"] for kind in ("weight", "bias")]
                inner = F.gelu(self.linear(f"{name}.mlp{suffix}.fc1", F.layer_norm(x, (GROWTH,), *norm)))
                x = x + self.linear(f"{name}.mlp{suffix}.fc2", inner)
                dense[stream] = torch.cat([dense[stream], x.permute(0, 3, 1, 2)], 1)
        return self.conv(f"RDBs.{i}.LFF", dense[0]) + optical, self.conv(f"RDBs.{i}.LFF_SAR", dense[1]) + sar

    def fuse(self, i, optical, sar):
        x = F.leaky_relu(self.conv(f"DF.{i}.fac_warp.0.0", torch.cat([optical, sar], 1)), 0.1)
        for n in (1, 2):
            inner = F.leaky_relu(self.conv(f"DF.{i}.fac_warp.{n}.stem.0", x), 0.1)
            x = x + self.conv(f"DF.{i}.fac_warp.{n}.stem.2", inner)
        kernels = F.leaky_relu(self.conv(f"DF.{i}.fac_warp.3.0", x), 0.1)
        patches = F.pad(sar, (2, 2, 2, 2), mode="replicate").unfold(2, 5, 1).unfold(3, 5, 1)
        kernels = kernels.view(1, CHANNELS, 5, 5, *sar.shape[-2:])
        filtered = torch.einsum("nchwij,ncijhw->nchw", patches, kernels)
        new = optical + self.conv(f"sar_fuse_1x1conv.{i}", filtered - optical).sigmoid() * (filtered - optical)
        return new, sar + self.conv(f"opt_distribute_1x1conv.{i}", new - filtered).sigmoid() * (new - filtered)

    def __call__(self, cloudy, sar):
        first = self.conv("SFENet1", F.pixel_unshuffle(cloudy, 2))
        o, s = self.conv("SFENet2", first), self.conv("SFENet1_SAR", F.pixel_unshuffle(sar, 2))
        s, stages = self.conv("SFENet2_SAR", s), []
        for i in range(BLOCKS):
            o, s = self.fuse(i, *self.block(i, o, s))
            stages.append(o)
        x = self.conv("GFF.1", self.conv("GFF.0", torch.cat(stages, 1))) + first
        return self.conv("UPNet.2", F.pixel_shuffle(self.conv("UPNet.0", x), 2)) + cloudy


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24)])
def test_the_network_is_the_one_described(height, width):
    torch.manual_seed(0)
    settings = GLFCRSettings(
        channels=CHANNELS, growth=GROWTH, blocks=BLOCKS, layers=LAYERS, heads=HEADS, window=WINDOW, head_channels=4
    )
    model = GLFCR(settings).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        inputs = {
            "cloudy": torch.rand(1, 13, height, width, dtype=torch.float64),
            "sar": torch.rand(1, 2, height, width, dtype=torch.float64),
        }
        ours, described = model(**inputs).image, Description(model)(**inputs)
    assert (ours - inputs["cloudy"]).abs().mean() > 0.1
    assert torch.allclose(ours, described, rtol=1e-9, atol=1e-9)
