"""Model files of other authors as methods: a file NAME.pth or NAME.safetensors is the method `file:NAME`.

The package `spandrel` recognizes their networks. It is imported when there is such a file, and then only.
"""
