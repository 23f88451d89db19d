#!/usr/bin/env python3
"""Does transfer work: do a model's weights help a job on other data, and does incremental training go on from them?

    SHARED_DIR=... python tests/benchmarks/transfer.py --work FOLDER

Four kinds of job, all through the real `train`:

1. a base on synthetic shapes, from random weights;
2. BCCD's photographs of blood cells from the base, with a new class prediction layer, everything else Auto;
3. the same from random weights: same images, epochs, batch size, learning rate, schedule and seed;
4. incremental training: the same data and classes from the model of 2, once with learning rate 0, which evaluates what
   was loaded and so must repeat the figure the parent saved, and once with a small learning rate.

It prints mAP@0.5 of the validation images after every epoch of 2 and 3 side by side, then of 4 beside its parent's. The
base has seen no photograph: what one that was trained on photographs gives is not measured here. About half an hour on
two cores. Complete jobs in FOLDER are reused.
"""

from jobs import arguments, blood_cells, stop_the_job_with_the_benchmark, train, train_base

INCREMENTAL_LEARNING_RATE = 0.0001
INCREMENTAL_EPOCHS = 2


def main() -> None:
    parser = arguments(__doc__, "transfer-benchmark")
    parser.add_argument("--epochs", type=int, default=8, help="epochs on the blood cells")
    options = parser.parse_args()
    stop_the_job_with_the_benchmark()
    data = blood_cells()
    base = train_base(options.work, options.base_images, options.base_epochs)

    budget = {
        "epochs": options.epochs,
        "batch_size": 8,
        "learning_rate": 0.001,
        "learning_rate_schedule": "cosine",
        "recipe": "plain",
        "invalid_boxes": "drop",
        "seed": 1,
    }
    transferred = train(
        options.work / f"bccd-from-{base.root.name}-x{options.epochs}",
        data,
        {**budget, "reinitialize_top_layer": True},
        start=base.model,
    )
    from_random = train(
        options.work / f"bccd-from-random-x{options.epochs}", data, {**budget, "pretrained_weights": "none"}
    )

    incremental = {**budget, "learning_rate_schedule": "constant"}
    repeated = train(
        transferred.root.with_name(transferred.root.name + "-repeated"),
        data,
        {**incremental, "learning_rate": 0.0, "epochs": 1},
        start=transferred.model,
    )
    child = train(
        transferred.root.with_name(transferred.root.name + "-incremental"),
        data,
        {**incremental, "learning_rate": INCREMENTAL_LEARNING_RATE, "epochs": INCREMENTAL_EPOCHS},
        start=transferred.model,
    )

    print(f"Base on synthetic shapes: mAP@0.5 {base.best:.3f} on its own validation images\n")
    print("mAP@0.5 on BCCD's validation images, * marks the saved epoch\n")
    print("| epoch | from the base | from random weights |")
    print("|---|---|---|")
    for epoch in range(options.epochs):
        cells = (
            f"{job.map_50[epoch]:.3f}{'*' if epoch == job.saved_epoch else ''}" for job in (transferred, from_random)
        )
        print(f"| {epoch} | {' | '.join(cells)} |")
    print("\nIncremental training from the model of the first column\n")
    print("| weights | mAP@0.5 |")
    print("|---|---|")
    print(f"| the parent's, as it saved them | {transferred.best:.6f} |")
    print(f"| loaded by a job with learning rate 0 | {repeated.best:.6f} |")
    for epoch, value in enumerate(child.map_50):
        print(f"| epoch {epoch} with learning rate {INCREMENTAL_LEARNING_RATE:g} | {value:.6f} |")


if __name__ == "__main__":
    main()
