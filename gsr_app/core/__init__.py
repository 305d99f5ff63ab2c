"""Nouns and errors that every room shares. numpy and the standard library only."""
