"""Supervised programs, one file each: open, loop(now), drain."""
