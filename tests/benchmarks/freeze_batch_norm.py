#!/usr/bin/env python3
"""Below how many images per step is fine-tuning better with frozen batch normalization than with moving statistics?

    SHARED_DIR=... python tests/benchmarks/freeze_batch_norm.py --work FOLDER [--base MODEL] [--data bccd|shapes]

Fine-tunes one base with `freeze_batch_norm` True and False over several batch sizes, all for the same number of epochs
and so of images seen, with a new class prediction layer. Every job has the same learning rate, whatever its batch size:
0.0005, adam, cosine. It prints mAP@0.5 of the best epoch for every cell: the mean over the seeds, and each. Compare
along a row: a larger batch takes fewer steps, and where both columns are low neither job was trained for long enough.

`--data bccd` are photographs of blood cells, far from a base of synthetic shapes, whose statistics are wrong for them.
`--data shapes` are as many new images of what the base was trained on, whose statistics are right.

Frozen means scale and offset as well as statistics. A moving statistic keeps momentum^steps of its first value, which
the table shows as "kept": where that is much, training saw the batches' statistics and validation nearly still the
base's, so the column "moving" pays for the length of the run as well as for the size of the batch. By default these are
20 jobs of one to two minutes each on two cores, beside the base. Complete jobs in FOLDER are reused.
"""

import math
from pathlib import Path

from jobs import (
    MODEL,
    arguments,
    blood_cells,
    shapes,
    stop_the_job_with_the_benchmark,
    train,
    train_base,
    training_images,
)

NEAR_IMAGES = 205
"""As many as BCCD has for training."""


def main() -> None:
    parser = arguments(__doc__, "freeze-benchmark")
    parser.add_argument("--base", type=Path, help="model directory to fine-tune; without it, one is trained on shapes")
    parser.add_argument("--data", choices=("bccd", "shapes"), default="bccd", help="what to fine-tune it on")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of every job")
    parser.add_argument("--learning-rate", type=float, default=0.0005, help="of every job, whatever its batch size")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    stop_the_job_with_the_benchmark()
    data = blood_cells() if options.data == "bccd" else shapes(options.work, NEAR_IMAGES, seed=2)
    base = options.base or train_base(options.work, options.base_images, options.base_epochs).model

    def best(batch_size: int, frozen: bool, seed: int) -> float:
        state = "frozen" if frozen else "moving"
        return train(
            options.work
            / f"{options.data}-x{options.epochs}-rate-{options.learning_rate:g}-batch-{batch_size}-{state}-seed-{seed}",
            data,
            {
                "epochs": options.epochs,
                "batch_size": batch_size,
                "learning_rate": options.learning_rate,
                "learning_rate_schedule": "cosine",
                "recipe": "plain",
                "freeze_batch_norm": frozen,
                "reinitialize_top_layer": True,
                "invalid_boxes": "drop",
                "seed": seed,
            },
            start=base,
        ).best

    # Seed by seed, so that an interrupted benchmark has whole tables.
    found = {
        (batch_size, frozen, seed): best(batch_size, frozen, seed)
        for seed in options.seeds
        for batch_size in options.batch_sizes
        for frozen in (True, False)
    }

    images, momentum = training_images(data), MODEL.family.batch_norm_momentum
    print(f"mAP@0.5 of the best of {options.epochs} epochs on {images} images of {options.data}: mean (each seed)\n")
    print("| images per step | steps | kept | frozen | moving |")
    print("|---|---|---|---|---|")
    for batch_size in options.batch_sizes:
        steps = options.epochs * math.ceil(images / batch_size)
        cells = []
        for frozen in (True, False):
            values = [found[batch_size, frozen, seed] for seed in options.seeds]
            cells.append(f"{sum(values) / len(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})")
        print(f"| {batch_size} | {steps} | {momentum**steps:.0%} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
