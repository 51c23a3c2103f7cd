"""The network: torch only, no files, no tokenizers, no training."""
