"""Starts a training job of this container on SageMaker, through boto3 alone.

    launch_training.py --image IMAGE --role ROLE --training s3://bucket/data/ --output s3://bucket/models/ \
        --hyperparameters epochs=10 batch_size=8 --spot --checkpoints s3://bucket/checkpoints/cells-1/ --wait

Arguments and hyperparameters are checked before any call, with every mistake in one list. Exit code 0: done, 1: the job
failed or was stopped, 2: you can fix it, 3: AWS did not answer, 130: Ctrl-C, which leaves the job running.
"""

import argparse
import sys
import time

from sagemaker_object_detection.launch import arguments as shared
from sagemaker_object_detection.launch.follow import Sleep, follow_training
from sagemaker_object_detection.launch.program import Connect, connect, guarded, print_notes, print_request, utc_now
from sagemaker_object_detection.launch.training import TRAINING_ARGUMENTS, training_job_request


def main(arguments: list[str] | None = None, connect: Connect = connect, sleep: Sleep = time.sleep) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    return guarded(lambda: _launch(options, connect, sleep))


def _launch(options: argparse.Namespace, connect: Connect, sleep: Sleep) -> int:
    request, notes = training_job_request(options, utc_now())
    print_notes(notes)
    if options.dry_run:
        print_request(request)
        return 0
    aws = connect(options.region, options.profile)
    name = request["TrainingJobName"]
    aws.sagemaker.create_training_job(**request)
    print(f"started training job {name} in {aws.region}", flush=True)
    return follow_training(aws, name, sleep) if options.wait else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Starts a training job on SageMaker.", allow_abbrev=False)
    for row in TRAINING_ARGUMENTS:
        shared.add_argument(parser, row)
    shared.add_arguments(parser)
    shared.add_program_arguments(parser, wait="print the job's log lines until it ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
