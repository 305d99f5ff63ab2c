"""The theme: Gradio's design tokens with our values, and the stylesheet."""

from __future__ import annotations

from pathlib import Path

from gradio.themes import Base, Color

from gsr_app.ui.components import player as component
from gsr_app.viewer import bundle

_SANS = ["Inter", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Liberation Sans", "system-ui", "sans-serif"]
_MONO = ["ui-monospace", "SF Mono", "JetBrains Mono", "DejaVu Sans Mono", "Menlo", "monospace"]


def theme() -> Base:
    accent = Color(
        "#eef6f3", "#d7ebe4", "#b3d8cb", "#86bfad", "#58b39a", "#2f6f5e", "#2a6455", "#24564a", "#1d463c", "#163730",
        "#0f2722",
    )  # fmt: skip
    return Base(
        primary_hue=accent, secondary_hue=accent, neutral_hue="stone", font=_SANS, font_mono=_MONO, text_size="sm",
        radius_size="sm", spacing_size="sm",
    ).set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#17191b",
        body_text_color="#1d1f21",
        body_text_color_dark="#e9eaeb",
        body_text_color_subdued="#5d6166",
        body_text_color_subdued_dark="#a4a9ae",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#17191b",
        background_fill_secondary="#f5f5f3",
        background_fill_secondary_dark="#1f2225",
        border_color_primary="#e3e3e0",
        border_color_primary_dark="#2e3236",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_padding="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        button_primary_background_fill="#2f6f5e",
        button_primary_background_fill_hover="#285f50",
        button_primary_background_fill_dark="#58b39a",
        button_primary_background_fill_hover_dark="#68c1a9",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#10201b",
        button_primary_shadow="none",
        button_secondary_shadow="none",
        input_shadow="none",
        input_shadow_focus="none",
        input_background_fill="#f5f5f3",
        input_background_fill_dark="#1f2225",
        slider_color="#2f6f5e",
        slider_color_dark="#58b39a",
        checkbox_background_color_selected="#2f6f5e",
        checkbox_background_color_selected_dark="#58b39a",
    )  # fmt: skip


def stylesheet() -> str:
    return bundle.css() + component.css() + (Path(__file__).parent / "static" / "app.css").read_text(encoding="utf-8")
