"""Comparisons with peers in one run, and figures of BoltLink's own parts."""
