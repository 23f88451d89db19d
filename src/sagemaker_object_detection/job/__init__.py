"""What SageMaker gives a training job and expects back. Knows no machine learning and imports no framework."""
