"""SAVSR: video super-resolution at any scale, also different ones per axis; seven frames in, one out.

Li, Liu, Shang, Liu, Wan, Feng, "SAVSR: Arbitrary-Scale Video Super-Resolution via a Learned Scale-Adaptive Network",
AAAI 2024. Original: github.com/Weepingchestnut/SAVSR; no licence file, its setup.py says Apache-2.0.

Two recurrent units process the window's inner five frames, one forwards and one backwards; the input of each step is a
frame and its two neighbours. `look` computes what depends on the frames alone, which is the same in all windows that
contain them; the recurrent part depends on where the window begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.core.types import Scale
from gsr_app.models.registry import Architecture
from gsr_app.models.savsr_layers import ResidualGroup, ScaleAdapt, StreamBlock, conv3x3, leaky_relu
from gsr_app.models.savsr_upsample import OutputRegion, Places, Upsampler, sample


@dataclass(frozen=True)
class SAVSRConfig:
    """The defaults are the published network."""

    channels: int = 64
    frames: int = 7  # of a window
    window_blocks: int = 4
    fusion_blocks: int = 2
    groups: int = 4
    blocks: int = 8  # of a group


@dataclass(frozen=True, eq=False)
class Look:
    """One unit's features of a frame and its two neighbours, before the recurrent state is added."""

    centre: Tensor  # [B, C, h, w] the streams of the frame
    around: Tensor  # and of its neighbours
    base: Tensor  # their contribution to the common base
    centre_added: Tensor  # and to the residual of each stream
    around_added: Tensor


class WindowUnit(nn.Module):
    """One recurrent step: a frame, its neighbours, and the state from the frames before."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.conv_c = conv3x3(3, channels)
        self.conv_sup = conv3x3(6, channels)
        self.blocks = nn.ModuleList(StreamBlock(channels, 3, by_scale=i > 0) for i in range(blocks))
        self.merge = conv3x3(3 * channels, channels)

    def look(self, before: Tensor, frame: Tensor, after: Tensor) -> Look:  # [B, 3, h, w] each
        """Everything before the recurrent state is needed."""
        first, channels = self.blocks[0], self.merge.out_channels
        centre = leaky_relu(self.conv_c(frame))
        around = leaky_relu(self.conv_sup(torch.cat([before, after], 1)))
        each = [leaky_relu(first.conv0[i](x)) for i, x in enumerate((centre, around))]  # type: ignore[index, operator]
        base = F.conv2d(torch.cat(each, 1), first.conv1.weight[:, : 2 * channels], first.conv1.bias)  # type: ignore[index, union-attr, arg-type]
        parts = (
            F.conv2d(one, first.conv2[i].weight[:, channels:], first.conv2[i].bias, padding=1)  # type: ignore[index, union-attr, arg-type]
            for i, one in enumerate(each)
        )
        return Look(centre, around, base, *parts)

    def forward(self, seen: Look, state: Tensor, scale: Scale) -> Tensor:  # [B, C, h, w]
        streams = self._first_block(seen, state)
        for block in list(self.blocks)[1:]:
            streams = block(streams, scale)
        return self.merge(torch.cat(streams, 1))

    def _first_block(self, seen: Look, state: Tensor) -> list[Tensor]:
        """The rest of the first block, which needs the state."""
        first, channels = self.blocks[0], self.merge.out_channels
        own = leaky_relu(first.conv0[2](state))  # type: ignore[index, operator]
        base = leaky_relu(seen.base + F.conv2d(own, first.conv1.weight[:, 2 * channels :]))  # type: ignore[index, union-attr]
        weight = torch.cat([first.conv2[i].weight[:, :channels] for i in range(2)])  # type: ignore[index, union-attr]
        centre, around = F.conv2d(base, weight, padding=1).chunk(2, 1)
        return [
            seen.centre + leaky_relu(centre + seen.centre_added),
            seen.around + leaky_relu(around + seen.around_added),
            state + leaky_relu(first.conv2[2](torch.cat([base, own], 1))),  # type: ignore[index, operator]
        ]


class FusionUnit(nn.Module):
    """Fuses the outputs of both units at all inner frames into one map."""

    def __init__(self, channels: int, frames: int, blocks: int) -> None:
        super().__init__()
        self.conv_h = nn.ModuleList(conv3x3(2 * channels, channels) for _ in range(frames))
        self.blocks = nn.ModuleList(StreamBlock(channels, frames, by_scale=True) for _ in range(blocks))
        self.merge = conv3x3(frames * channels, 2 * channels)

    def forward(self, found: list[Tensor], scale: Scale) -> Tensor:
        streams = [leaky_relu(conv(x)) for conv, x in zip(self.conv_h, found, strict=True)]
        for block in self.blocks:
            streams = block(streams, scale)
        return self.merge(torch.cat(streams, 1))


@dataclass(frozen=True, eq=False)
class Features:
    """A window as the upsampler needs it, on the source's grid."""

    gathered: tuple[Tensor, Tensor]  # [B, C', h, w]
    frame: Tensor  # [B, 3, h, w] the middle frame


class SAVSR(nn.Module):
    """[B, 7, 3, h, w] in 0..1 -> [B, 3, H, W], the middle frame; H = round(h * sy), halves to even."""

    PUBLISHED_UNDER = "params"  # the released file holds averaged weights, too; the published figures are of these

    def __init__(self, *, config: SAVSRConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.gamma = nn.Parameter(torch.ones(1))
        self.f2p_win = WindowUnit(channels, config.window_blocks)  # from the future to the past
        self.p2f_win = WindowUnit(channels, config.window_blocks)
        self.h_win = nn.Sequential(FusionUnit(channels, config.frames - 2, config.fusion_blocks))
        self.h_win_conv_h = conv3x3(2 * channels, channels)
        self.RG = nn.ModuleList(ResidualGroup(channels, config.blocks) for _ in range(config.groups))
        self.adapt = nn.ModuleList(ScaleAdapt(channels) for _ in range(config.groups))
        self.conv_last = conv3x3(channels, channels)
        self.upsample = Upsampler(channels)
        self.tail = conv3x3(channels, 3)

    def forward(self, frames: Tensor, scale: tuple[float, float]) -> Tensor:
        factor = Scale(*scale)
        size = frames.shape[-2], frames.shape[-1]
        even = _pad_to_even(frames)
        looks = [self.look(even[:, t - 1], even[:, t], even[:, t + 1]) for t in range(1, self.config.frames - 1)]
        features = self.encode(looks, frames[:, self.config.frames // 2], factor)
        return self.draw(features, self.locate(OutputRegion.whole(size, factor)))

    def look(self, before: Tensor, frame: Tensor, after: Tensor) -> tuple[Look, Look]:
        """Both units' features of three consecutive frames, [B, 3, h, w] each with even sides, for every scale."""
        return self.f2p_win.look(before, frame, after), self.p2f_win.look(before, frame, after)

    def encode(self, looks: list[tuple[Look, Look]], frame: Tensor, scale: Scale) -> Features:
        """The looks at a window's inner frames, in their order, and the middle frame without its padding."""
        align = self._align(looks, scale)
        x = align
        for group, adapt in zip(self.RG, self.adapt, strict=True):
            x = adapt(group(x), scale) + self.gamma * align
        x = self.conv_last(x) + align
        height, width = frame.shape[-2:]
        return Features(self.upsample.gather(x[..., :height, :width], align[..., :height, :width]), frame)

    def locate(self, region: OutputRegion) -> Places:
        """The sampling positions of an output region: the same for every window of a clip."""
        return self.upsample.locate(region)

    def draw(self, features: Features, places: Places) -> Tensor:  # [B, 3, H, W]
        """The pixels of an output region."""
        x = F.pad(self.upsample(features.gathered, places), places.beyond)
        skip = sample(features.frame, places.skip_at, padding="border")
        left, right, top, bottom = (1 - rim for rim in places.beyond)
        skip = skip[..., top : skip.shape[-2] - bottom, left : skip.shape[-1] - right]
        return F.conv2d(x, self.tail.weight, self.tail.bias) + skip

    def _align(self, looks: list[tuple[Look, Look]], scale: Scale) -> Tensor:
        """Both recurrences over the window, fused."""
        zero = torch.zeros_like(looks[0][0].centre)
        backward, forward = zero, zero
        back: list[Tensor] = []
        forth: list[Tensor] = []
        for late, early in zip(reversed(looks), looks, strict=True):
            backward = self.f2p_win(late[0], backward, scale)
            forward = self.p2f_win(early[1], forward, scale)
            back.append(backward)
            forth.append(forward)
        found = [torch.cat(pair, 1) for pair in zip(reversed(back), forth, strict=True)]
        return leaky_relu(self.h_win_conv_h(self.h_win[0](found, scale)))


def _pad_to_even(frames: Tensor) -> Tensor:  # [B, 7, 3, h, w]
    """Mirrored at the bottom and the right; a side of a single pixel is repeated."""
    x = frames.flatten(0, 1)
    for axis, amounts in ((-2, (0, 0, 0, 1)), (-1, (0, 1, 0, 0))):
        if x.shape[axis] % 2:
            x = F.pad(x, amounts, mode="reflect" if x.shape[axis] > 1 else "replicate")
    return x.unflatten(0, frames.shape[:2])


ARCHS = (
    Architecture(
        id="savsr",
        build=lambda: SAVSR(config=SAVSRConfig()),
        kind="video",
        multiple_of=2,
        overlap=32,
        bytes_per_pixel=14_000,
    ),
)
