"""Pretrains with FSDP, as a process of torchrun: python pretraining_fsdp.py CORPUS OUT"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from pretraining_helpers import few_steps

from interbert.pretraining.run import pretrain

if __name__ == "__main__":
    plan = few_steps(epochs=2, precision="fp32", learning_rate=1e-4, validate_every=3)
    plan = replace(plan, model=replace(plan.model, dropout=0.0, attention_dropout=0.0))
    pretrain([Path(sys.argv[1])], Path(sys.argv[2]), plan, progress=False, parallel="fsdp")
