"""Does a speed-up cost accuracy? mAP@0.5 on BCCD's validation images, per variant and seed.

    SHARED_DIR=... python tests/benchmarks/accuracy.py --work DIR [--only NAME,...] [--seeds 1 2 3]

Every job fine-tunes the same base, trained on synthetic shapes (as transfer.py does), for five epochs. The baseline is
the job as it is; every variant leaves one speed-up out, or takes it further than any job does, by replacing a name of
the package (patched_job.py). A variant is equal to the baseline where their means differ by no more than the seeds
alone would make them: two standard errors of a difference of means, from the seeds' own spread in both rows. That bound
is printed, and says how small a loss would have been seen. Complete jobs in DIR are used again.
"""

import hashlib
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs import arguments, blood_cells, stop_the_job_with_the_benchmark, train, train_base

LEAST = 0.3
"""What the baseline has to reach: below it, nothing would show."""


@dataclass(frozen=True)
class Variant:
    name: str
    patches: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Part of a folder's name: another one where anything of the variant is another."""
        digest = hashlib.sha256(json.dumps(dict(self.patches), sort_keys=True).encode()).hexdigest()
        return f"{self.name.replace(' ', '-')}-{digest[:8]}"


BASELINE = Variant("baseline")
VARIANTS = (
    Variant("decoded in every epoch", {"images.decoded:SHARE": 0.0}),
    # BCCD's photographs of 640x480 are decoded in full for a network of 320; at half their size they are 240 high.
    Variant("decoded at half size", {"images.decoded:KEPT_SIDES": 0.75, "dataset.reader:KEPT_SIDES": 0.75}),
    Variant("normalization not folded", {"models.detector:fold_normalizations": None}),
)


def main() -> None:
    parser = arguments(__doc__, "accuracy-benchmark")
    names = ", ".join(variant.name for variant in VARIANTS)
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,...", help=f"of {names}")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    chosen = [variant for variant in VARIANTS if options.only is None or variant.name in options.only]
    if options.only is not None and len(chosen) != len(options.only):
        sys.exit(f"accuracy: --only takes some of {names}")
    variants = [BASELINE, *chosen]
    stop_the_job_with_the_benchmark()
    data = blood_cells()
    base = train_base(options.work, options.base_images, options.base_epochs)

    def best(variant: Variant, seed: int) -> float:
        return train(
            options.work / f"bccd-x{options.epochs}-seed-{seed}-{variant.key}",
            data,
            {
                "epochs": options.epochs,
                "batch_size": 8,
                "learning_rate": 0.001,
                "learning_rate_schedule": "cosine",
                "recipe": "plain",
                "reinitialize_top_layer": True,
                "invalid_boxes": "drop",
                "seed": seed,
            },
            start=base.model,
            patches=variant.patches,
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
        cells.append(_verdict(values, baseline) if variant is not BASELINE else "")
        print(f"| {variant.name} | {' | '.join(cells)} |")
    least = min(found["baseline", seed] for seed in options.seeds)
    print(f"\nThe baseline reaches {least:.3f} or more; {LEAST:g} is {'met' if least >= LEAST else 'MISSED'}.")


def _verdict(values: list[float], baseline: list[float]) -> str:
    difference = statistics.mean(values) - statistics.mean(baseline)
    if len(values) < 2:
        return f"{difference:+.3f}"
    bound = 2 * ((statistics.variance(values) + statistics.variance(baseline)) / len(values)) ** 0.5
    return f"{difference:+.3f}: {'equal' if abs(difference) <= bound else 'NOT equal'}, within {bound:.3f}"


if __name__ == "__main__":
    main()
