#!/usr/bin/env python3
"""Of random trials from the ranges that `describe` recommends to a tuning job, how many are of use?

    SHARED_DIR=... python tests/benchmarks/tuner_ranges.py --work FOLDER [--ranges recommended|built-in] [--trials N]

Every trial draws each tunable hyperparameter as SageMaker's random search does, by its scaling, and fine-tunes the
published weights of SHARED_DIR on 60 of its playing cards, over which it goes ten times in all. A trial is of use if it
reaches half of what a job of that length without any other hyperparameter does, and has not collapsed; one that ends
with an error is not. Complete jobs in FOLDER are used again.
"""

import json
import math
import random
from collections.abc import Mapping
from typing import Any

from fine_tuning import SHORT, Cell, run
from jobs import arguments, stop_the_job_with_the_benchmark

from sagemaker_object_detection.describe import describe_json

CELL = Cell("cards", "60", "scaled")
SEED = 1


def main() -> None:
    parser = arguments(__doc__, "tuner-benchmark")
    parser.add_argument("--ranges", choices=("recommended", "built-in"), default="recommended")
    parser.add_argument("--trials", type=int, default=20)
    options = parser.parse_args()
    stop_the_job_with_the_benchmark()
    ranges = describe_json(built_in_ranges=options.ranges == "built-in")["ParameterRanges"]
    asked = run(options.work, CELL, SEED, SHORT)
    assert asked is not None
    least = asked.figures["mAP_50"] / 2
    print(f"The job without other values: mAP@0.5 {asked.figures['mAP_50']:.3f}; of use is {least:.3f} and more.\n")
    draw, useful = random.Random(SEED), 0
    for number in range(1, options.trials + 1):
        values = {row["Name"]: _drawn(row, draw) for rows in ranges.values() for row in rows} | SHORT
        result = run(options.work, CELL, SEED, values, name=f"{options.ranges}-trial-{number}", may_fail=True)
        good = result is not None and result.figures["mAP_50"] >= least and not result.collapsed
        useful += good
        figure = "failed" if result is None else f"{result.figures['mAP_50']:.3f}{' collapsed' * result.collapsed}"
        print(f"{number:3} {figure:16} {'' if good else 'of no use':10} {json.dumps(values)}", flush=True)
    print(f"\n{useful} of {options.trials} trials from the {options.ranges} ranges are of use.")


def _drawn(row: Mapping[str, Any], draw: random.Random) -> object:
    if "Values" in row:
        return draw.choice(row["Values"])
    low, high = float(row["MinValue"]), float(row["MaxValue"])
    match row["ScalingType"]:
        case "Logarithmic":
            value = math.exp(draw.uniform(math.log(low), math.log(high)))
        case "ReverseLogarithmic":
            value = 1.0 - math.exp(draw.uniform(math.log(1.0 - high), math.log(1.0 - low)))
        case _:
            value = draw.uniform(low, high)
    return round(value) if row["MinValue"].isdigit() else float(f"{value:.4g}")


if __name__ == "__main__":
    main()
