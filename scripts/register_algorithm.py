"""Registers this container as an algorithm of an AWS account: hyperparameters, channels and metrics, from its tables.

    register_algorithm.py --name object-detection --image IMAGE

Jobs then give --algorithm object-detection in place of --image, and SageMaker itself checks their hyperparameters.
Exit code 0: done, 2: you can fix it, 3: AWS did not answer.
"""

import argparse
import sys

from sagemaker_object_detection.launch import arguments as shared
from sagemaker_object_detection.launch.algorithm import ALGORITHM_ARGUMENTS, algorithm_request
from sagemaker_object_detection.launch.program import Connect, connect, guarded, print_request


def main(arguments: list[str] | None = None, connect: Connect = connect) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    return guarded(lambda: _register(options, connect))


def _register(options: argparse.Namespace, connect: Connect) -> int:
    request = algorithm_request(options)
    if options.dry_run:
        print_request(request)
        return 0
    aws = connect(options.region, options.profile)
    answer = aws.sagemaker.create_algorithm(**request)
    print(f"registered algorithm {request['AlgorithmName']}: {answer['AlgorithmArn']}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Registers the algorithm on SageMaker.", allow_abbrev=False)
    for row in ALGORITHM_ARGUMENTS:
        shared.add_argument(parser, row)
    shared.add_program_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
