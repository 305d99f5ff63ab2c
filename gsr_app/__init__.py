"""GSR: super-resolve an image at any scale and judge methods side by side."""

__version__ = "0.1.0"
