"""Starts a training job of this container on SageMaker, through boto3 alone.

    launch_training.py --image IMAGE --role ROLE --training s3://bucket/data/ --output s3://bucket/models/ \
        --hyperparameters epochs=10 batch_size=8 --spot --checkpoints s3://bucket/checkpoints/cells-1/ --wait

Arguments and hyperparameters are checked before any call, with every mistake in one list. Exit code 0: done, 1: the job
failed or was stopped, 2: you can fix it, 3: AWS did not answer, 130: Ctrl-C, which leaves the job running.
"""

import sys

from sagemaker_object_detection.launch.training import TRAINING

if __name__ == "__main__":
    sys.exit(TRAINING.main())
