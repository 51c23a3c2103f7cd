"""Masking, objectives, stages."""
