"""interbert.training.settings"""

from __future__ import annotations

import pytest

from interbert.config import with_settings
from interbert.errors import UsageError
from interbert.training.settings import Training, mix


def test_settings_are_read_from_text() -> None:
    changed = with_settings(Training(), {"learning_rate": "4e-5", "ema": "0.9999", "betas": "[0.9, 0.9999]"})
    assert (changed.learning_rate, changed.ema, changed.betas) == (4e-5, 0.9999, (0.9, 0.9999))


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.0},
        {"betas": (0.9, 1.0)},
        {"ema": 1.0},
        {"log_every": 0},
        {"threads": 0},
        {"warmup_steps": -1},
    ],
)
def test_a_senseless_setting_is_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        Training(**change)  # type: ignore[arg-type]


def test_what_does_not_change_the_weights_is_no_part_of_the_exact_facts() -> None:
    assert Training(log_every=1, keep_checkpoints=9).exact_facts() == Training().exact_facts()
    assert Training(seed=1).exact_facts() != Training().exact_facts()


def test_seeds_of_neighbouring_steps_have_nothing_in_common() -> None:
    seeds = [mix(seed, step, rank) for seed in range(10) for step in range(10) for rank in range(10)]
    assert len(set(seeds)) == 1000
    ones = [(a ^ b).bit_count() for a, b in zip(seeds, seeds[1:], strict=False)]
    assert 30 < sum(ones) / len(ones) < 33  # half of 63 bits change
