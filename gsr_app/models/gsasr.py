"""GSASR: an image and a scale become a field of 2-D Gaussians, sixteen per source pixel.

Chen et al., "Generalized and Efficient 2D Gaussian Splatting for Arbitrary-scale Super-Resolution", ICCV 2025,
arXiv 2501.06838. Code and weights: https://github.com/ChrisDud0257/GSASR, Apache-2.0.

Four encoders (EDSR-baseline, RDN, SwinIR, HAT-L) in two generations: the decoder of the paper, and the enhanced one.
Unlike the original program, the field is in source pixels and is drawn at the exact scale. The original draws it into
floor(scale · padded size) pixels, which changes the scale slightly when that is not an integer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gsr_app.core.types import GaussianField, Scale
from gsr_app.models.gsasr_decoder import LATTICE, DecoderConfig, GaussianDecoder
from gsr_app.models.gsasr_hat import HATEncoder
from gsr_app.models.gsasr_swinir import SwinIREncoder
from gsr_app.models.layers.encoders import RDN, NamedEDSR
from gsr_app.models.registry import Architecture

# A raw sigma of 1 is 1 / 1.2 source pixels.
SIGMA_STEP = 1.2


def activate(raw: Tensor, source_size: tuple[int, int]) -> GaussianField:
    """Raw decoder output [N, 9] -> a field in source pixels."""
    height, width = source_size
    sigma = 0.99999 * raw[:, 0:2].sigmoid() + 1e-6
    return GaussianField(
        mean=raw[:, 7:9] * torch.tensor((width, height), device=raw.device),
        sigma=sigma.flip(1) / SIGMA_STEP,  # the first raw sigma is the vertical one
        rho=0.999999 * raw[:, 2].tanh(),
        color=raw[:, 4:7].sigmoid() * raw[:, 3:4].sigmoid(),
        source_size=source_size,
    )


class EDSREncoder(NamedEDSR):
    """EDSR-baseline without its long skip: the published decoders were trained with the trunk alone."""

    def forward(self, lr: Tensor) -> Tensor:
        """[b, 3, h, w] RGB in 0..1 -> [b, 64, h, w]"""
        shallow = self.conv_first(lr.contiguous(memory_format=torch.channels_last))
        return self.conv_after_body(self.body(shallow))


class GSASR(nn.Module):
    def __init__(self, encoder: nn.Module, decoder: GaussianDecoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, lr: Tensor) -> Tensor:
        """[b, 3, h, w] RGB in 0..1 -> features [b, 64, h, w]"""
        return self.encoder(lr)

    def field(self, features: Tensor, scale: Scale) -> GaussianField:
        """The Gaussians of one image. Training used one scale for both axes; of two, the decoder gets the mean."""
        raw = self.decoder(features, scale)[0]
        return activate(raw, (features.shape[2], features.shape[3]))

    def forward(self, lr: Tensor, scale: float | Tensor | Scale) -> Tensor:
        """[b, 3, h, w] -> raw Gaussians [b, 16·h·w, 9]"""
        return self.decoder(self.encode(lr), scale)


def _architecture(name: str, encoder: type[nn.Module], config: DecoderConfig, *, multiple_of: int) -> Architecture:
    return Architecture(
        id=f"gsasr-{name}",
        build=lambda: GSASR(encoder(), GaussianDecoder(config)),
        kind="field",
        multiple_of=multiple_of,  # the least common multiple of the encoder's and the decoder's windows
        # With filled weights, at x2.3, the centre tile of 96 of a 256x256 photograph equals the whole to 24.7 dB with
        # an overlap of 12, to 40.6 dB with 24, 56.5 dB with 36 and 84.3 dB with 48.
        overlap=36,
        wraps=True,
        bytes_per_pixel=12_000,
        channels_last=True,
        scale_conditioned=True,
        lattice=LATTICE,
        window_fraction=0.1,  # the `dmax` of the published results
        parts=("encoder", "decoder"),
    )


PAPER = DecoderConfig(channels=180, paper=True)

ARCHS = (
    _architecture("edsr", EDSREncoder, DecoderConfig(), multiple_of=12),
    _architecture("rdn", RDN, DecoderConfig(cross_blocks=2), multiple_of=12),
    _architecture("swin", SwinIREncoder, DecoderConfig(window=16, cross_blocks=2, cross_layers=4), multiple_of=16),
    _architecture(
        "hatl",
        HATEncoder,
        DecoderConfig(window=16, cross_blocks=4, cross_layers=4, self_blocks=8),
        multiple_of=16,
    ),
    _architecture("paper-edsr", EDSREncoder, PAPER, multiple_of=12),
    _architecture("paper-rdn", RDN, PAPER, multiple_of=12),
    _architecture("paper-swin", SwinIREncoder, PAPER, multiple_of=24),
)
