"""The viewer without Gradio: scenes, comparisons, reports, and the JavaScript that shows them."""
