"""The viewer: its data contract, its static modules, and how a page gets them."""
