"""Starts a hyperparameter tuning job of this container on SageMaker, through boto3 alone.

    launch_tuning.py --image IMAGE --role ROLE --training s3://bucket/data/ --output s3://bucket/models/ \
        --tune learning_rate=1e-5:1e-2 batch_size optimizer=adam,sgd --hyperparameters epochs=10 --max-jobs 20 --wait

A name alone tunes over the range that `describe` shows. Arguments, ranges and hyperparameters that stay the same are
checked before any call, with every mistake in one list. Exit code 0: done, 1: the tuning job failed, was stopped or has
no best trial, 2: you can fix it, 3: AWS did not answer, 130: Ctrl-C, which leaves the job running.
"""

import argparse
import sys
import time

from sagemaker_object_detection.launch import arguments as shared
from sagemaker_object_detection.launch.follow import Sleep, follow_tuning
from sagemaker_object_detection.launch.program import Connect, connect, guarded, print_notes, print_request, utc_now
from sagemaker_object_detection.launch.tuning import TUNING_ARGUMENTS, tuning_job_request


def main(arguments: list[str] | None = None, connect: Connect = connect, sleep: Sleep = time.sleep) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    return guarded(lambda: _launch(options, connect, sleep))


def _launch(options: argparse.Namespace, connect: Connect, sleep: Sleep) -> int:
    request, notes = tuning_job_request(options, utc_now())
    print_notes(notes)
    if options.dry_run:
        print_request(request)
        return 0
    aws = connect(options.region, options.profile)
    name = request["HyperParameterTuningJobName"]
    aws.sagemaker.create_hyper_parameter_tuning_job(**request)
    print(f"started tuning job {name} in {aws.region}", flush=True)
    return follow_tuning(aws, name, sleep) if options.wait else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Starts a tuning job on SageMaker.", allow_abbrev=False)
    tuning = parser.add_argument_group("tuning")
    for row in TUNING_ARGUMENTS:
        shared.add_argument(tuning, row)
    shared.add_arguments(parser)
    shared.add_program_arguments(parser, wait="print the trials as they end, and the best, until the job ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
