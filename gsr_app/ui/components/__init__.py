"""The player of videos: one file, one clock, several panes."""
