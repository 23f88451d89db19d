"""Starts a hyperparameter tuning job of this container on SageMaker, through boto3 alone.

    launch_tuning.py --image IMAGE --role ROLE --training s3://bucket/data/ --output s3://bucket/models/ \
        --tune learning_rate=1e-5:1e-2 batch_size optimizer=adam,sgd --hyperparameters epochs=10 --max-jobs 20 --wait

A name alone tunes over the range that `describe` shows. Arguments, ranges and hyperparameters that stay the same are
checked before any call, with every mistake in one list. Exit code 0: done, 1: the tuning job failed, was stopped or has
no best trial, 2: you can fix it, 3: AWS did not answer, 130: Ctrl-C, which leaves the job running.
"""

import sys

from sagemaker_object_detection.launch.tuning import TUNING

if __name__ == "__main__":
    sys.exit(TUNING.main())
