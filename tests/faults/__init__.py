"""Helpers that break things on purpose: flipped bits, cut files, killed processes, full disks."""
