"""GaussianSR: eight feature channels splatted as Gaussians whose shapes are drawn from a learned set of classes.

"GaussianSR: 3D Gaussian Splatting"-inspired 2-D feature splatting for arbitrary-scale super-resolution, AAAI 2025,
"GaussianSR: High Fidelity 2D Gaussian Splatting for Arbitrary-Scale Image Super-Resolution", arXiv 2407.18046.
Original: github.com/tljxyys/GaussianSR, BSD-3-Clause.
"""
