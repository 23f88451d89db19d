"""Does a speed-up cost accuracy? mAP@0.5 on BCCD's validation images, per variant and seed.

    SHARED_DIR=... python tests/benchmarks/accuracy.py --work DIR [--variants FILE] [--seeds 1 2 3]

Every job fine-tunes the same base, trained on synthetic shapes (as transfer.py does), for five epochs. A variant is a
name with hyperparameters and environment variables that differ from the baseline's; FILE is JSON such as

    {"no cache": {"environment": {"SOD_CACHE": "off"}}, "frozen": {"hyperparameters": {"freeze_batch_norm": true}}}

and the baseline, which changes nothing, is always there. A variant is equal to it where their means differ by no more
than the seeds alone would make them: two standard errors of a difference of means, from the seeds' own spread in both
rows. That bound is printed, and says how small a loss would have been seen. Complete jobs in DIR are used again.
"""

import hashlib
import json
import os
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jobs import arguments, blood_cells, stop_the_job_with_the_benchmark, train, train_base

LEAST = 0.3
"""What the baseline has to reach: below it, nothing would show."""


@dataclass(frozen=True)
class Variant:
    name: str
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Part of a folder's name: another one where anything of the variant is another."""
        what = json.dumps([self.name, dict(self.hyperparameters), dict(self.environment)], sort_keys=True)
        words = "".join(letter if letter.isalnum() else "-" for letter in self.name)
        return f"{words}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


def main() -> None:
    parser = arguments(__doc__, "accuracy-benchmark")
    parser.add_argument("--variants", type=Path, help="JSON file of variants beside the baseline")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    variants = [Variant("baseline"), *(_read(options.variants) if options.variants else [])]
    stop_the_job_with_the_benchmark()
    data = blood_cells()
    base = train_base(options.work, options.base_images, options.base_epochs)

    def best(variant: Variant, seed: int) -> float:
        with _set(variant.environment):
            return train(
                options.work / f"bccd-x{options.epochs}-seed-{seed}-{variant.key}",
                data,
                {
                    "epochs": options.epochs,
                    "batch_size": 8,
                    "learning_rate": 0.001,
                    "learning_rate_schedule": "cosine",
                    "reinitialize_top_layer": True,
                    "invalid_boxes": "drop",
                    "seed": seed,
                    **variant.hyperparameters,
                },
                start=base.model,
            ).best

    # Seed by seed, so that an interrupted benchmark has whole rows.
    found = {(variant.name, seed): best(variant, seed) for seed in options.seeds for variant in variants}

    print(f"mAP@0.5 on BCCD's validation images, best of {options.epochs} epochs, from {base.root.name}\n")
    print(f"| variant | {' | '.join(f'seed {seed}' for seed in options.seeds)} | mean | difference |")
    print(f"|---|{'---|' * len(options.seeds)}---|---|")
    for variant in variants:
        values = [found[variant.name, seed] for seed in options.seeds]
        baseline = [found["baseline", seed] for seed in options.seeds]
        cells = [f"{value:.3f}" for value in values] + [f"{statistics.mean(values):.3f}"]
        cells.append(_verdict(values, baseline) if variant is not variants[0] else "")
        print(f"| {variant.name} | {' | '.join(cells)} |")
    least = min(found["baseline", seed] for seed in options.seeds)
    print(f"\nThe baseline reaches {least:.3f} or more; {LEAST:g} is {'met' if least >= LEAST else 'MISSED'}.")


def _verdict(values: list[float], baseline: list[float]) -> str:
    difference = statistics.mean(values) - statistics.mean(baseline)
    if len(values) < 2:
        return f"{difference:+.3f}"
    bound = 2 * ((statistics.variance(values) + statistics.variance(baseline)) / len(values)) ** 0.5
    return f"{difference:+.3f}: {'equal' if abs(difference) <= bound else 'NOT equal'}, within {bound:.3f}"


def _read(path: Path) -> Iterator[Variant]:
    for name, given in json.loads(path.read_text(encoding="utf-8")).items():
        if unknown := given.keys() - {"hyperparameters", "environment"}:
            sys.exit(f"{path}: {name!r} has {', '.join(sorted(unknown))}; expected hyperparameters and environment")
        yield Variant(name, given.get("hyperparameters", {}), given.get("environment", {}))


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    """Jobs that are started inside inherit these variables."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    main()
