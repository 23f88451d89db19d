"""Registers this container as an algorithm of an AWS account: hyperparameters, channels and metrics, from its tables.

    register_algorithm.py --name object-detection --image IMAGE

Jobs then give --algorithm object-detection in place of --image, and SageMaker itself checks their hyperparameters.
Exit code 0: done, 2: you can fix it, 3: AWS did not answer.
"""

import sys

from sagemaker_object_detection.launch.algorithm import ALGORITHM

if __name__ == "__main__":
    sys.exit(ALGORITHM.main())
