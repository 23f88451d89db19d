"""An example of a SageMaker pipeline: train a model, evaluate it on images that nobody trained on, and register it if
it is good enough. Needs the SageMaker Python SDK v2.

    pipeline.py --image IMAGE --role ROLE --output s3://bucket/models/ --training s3://bucket/data/training/ \
        --test s3://bucket/data/test/ --least 0.4 --group cells --hyperparameters epochs=20

Arguments and hyperparameters are checked before any call, with every mistake in one list. Exit code 0: the pipeline was
started, or with --local has registered a model; 1: with --local, a step failed or the model is not good enough; 2: you
can fix it; 3: AWS did not answer; 130: Ctrl-C.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_object_detection.describe import describe_json
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.guard import run_guarded
from sagemaker_object_detection.job.channels import CHANNELS
from sagemaker_object_detection.launch import aws
from sagemaker_object_detection.launch.pipeline import GROUPS, Plan, read_plan
from sagemaker_object_detection.launch.program import program_parser

_PROCESSING = "/opt/ml/processing"
_CONTENT_TYPES = {row.name: row.content_types[0] for row in CHANNELS}
_NO_TELEMETRY = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    return run_guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    plan, notes = read_plan(options)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    try:
        # Of the region nothing is in the definition.
        session = aws.open_session(options.region or ("us-east-1" if options.dry_run else None), options.profile)
        with contextlib.redirect_stdout(sys.stderr):  # where the SDK says what it reads its settings from
            pipeline, register = build(plan, _sdk_session(plan, session, dry_run=options.dry_run))
        if options.dry_run:
            print(json.dumps(json.loads(pipeline.definition()), indent=2))
            return 0
        pipeline.upsert(role_arn=plan.values["--role"], tags=plan.values.get("--tags"))
        execution = pipeline.start()
        if plan.local:
            return _finish_here(execution, register, pipeline.sagemaker_session)
    except (BotoCoreError, ClientError) as error:
        raise aws.blame(error) from error
    print(f"started pipeline {pipeline.name} in {session.region_name}: {execution.arn}")
    return 0


def _sdk_session(plan: Plan, session: Any, *, dry_run: bool) -> Any:
    """A session of the SDK, in which calls become steps; quiet about what is as it should be."""
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    warnings.filterwarnings("ignore", "Running within a PipelineSession")
    logging.getLogger("sagemaker.workflow").setLevel(logging.ERROR)
    try:
        from sagemaker.workflow.pipeline_context import LocalPipelineSession, PipelineSession
    except ImportError:
        raise UserError(
            "the SageMaker Python SDK v2 is missing; install it with: pip install 'sagemaker[local]<3'"
        ) from None
    made = (LocalPipelineSession if plan.local else PipelineSession)(boto_session=session)
    if dry_run:
        made.sagemaker_config = _NO_TELEMETRY
    return made


def build(plan: Plan, session: Any) -> tuple[Any, Any]:
    """The pipeline, and its step that registers. A pipeline for local mode, where no such step runs, goes without.

    Args:
        session: a PipelineSession or LocalPipelineSession of the SDK.
    """
    from sagemaker.estimator import Estimator
    from sagemaker.inputs import TrainingInput
    from sagemaker.model import Model
    from sagemaker.model_metrics import MetricsSource, ModelMetrics
    from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
    from sagemaker.workflow.condition_step import ConditionStep
    from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
    from sagemaker.workflow.execution_variables import ExecutionVariables
    from sagemaker.workflow.fail_step import FailStep
    from sagemaker.workflow.functions import Join, JsonGet
    from sagemaker.workflow.model_step import ModelStep
    from sagemaker.workflow.parameters import ParameterFloat, ParameterString
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.properties import PropertyFile
    from sagemaker.workflow.steps import ProcessingStep, TrainingStep

    values = plan.values
    shared = {"image_uri": values["--image"], "role": values["--role"], "sagemaker_session": session}
    output = values["--output"].rstrip("/")
    # The parameters: what may differ from run to run.
    data = {
        name: ParameterString(f"{name.capitalize()}Data", default_value=address)
        for name, address in plan.channels.items()
    }
    least = ParameterFloat("Least", default_value=values["--least"])

    estimator = Estimator(
        **shared,
        instance_count=1,
        instance_type=values["--instance-type"],
        volume_size=values["--volume-size"],
        max_run=values["--max-run"],
        output_path=f"{output}/",
        hyperparameters=dict(plan.hyperparameters),
        metric_definitions=describe_json()["TrainingSpecification"]["MetricDefinitions"],
        disable_profiler=True,
        debugger_hook_config=False,
    )
    channels = {
        name: TrainingInput(address, content_type=_CONTENT_TYPES[name])
        for name, address in data.items()
        if name != "test"  # which is for the next step
    }
    train = TrainingStep("Train", step_args=estimator.fit(channels))
    model_data = train.properties.ModelArtifacts.S3ModelArtifacts

    processor = Processor(
        **shared,
        entrypoint=["evaluate"],
        instance_count=1,
        instance_type=values["--evaluation-instance-type"],
        volume_size_in_gb=values["--volume-size"],
    )
    evaluation = Join("/", [output, "evaluation", ExecutionVariables.PIPELINE_EXECUTION_ID])
    figures = PropertyFile("Figures", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        "Evaluate",
        step_args=processor.run(
            inputs=[
                ProcessingInput(model_data, f"{_PROCESSING}/model", input_name="model"),
                ProcessingInput(data["test"], f"{_PROCESSING}/test", input_name="test"),
            ],
            outputs=[ProcessingOutput(f"{_PROCESSING}/evaluation", evaluation, output_name="evaluation")],
        ),
        property_files=[figures],
    )

    register = ModelStep(
        "Register",
        step_args=Model(**shared, model_data=model_data).register(
            model_package_group_name=values["--group"],
            approval_status="PendingManualApproval",
            content_types=["application/x-image", "image/jpeg", "image/png", "application/json"],
            response_types=["application/json"],
            domain="COMPUTER_VISION",
            task="OBJECT_DETECTION",
            model_metrics=ModelMetrics(
                model_statistics=MetricsSource("application/json", Join("/", [evaluation, figures.path]))
            ),
        ),
    )
    metric = values["--metric"]
    figure = JsonGet(evaluate.name, figures, f"object_detection_metrics.{metric}.value")
    words = [f"{metric} of the test images is ", figure, "; expected at least ", least, ": the model is not registered"]
    good_enough = ConditionStep(
        "GoodEnough",
        conditions=[ConditionGreaterThanOrEqualTo(figure, least)],
        if_steps=[] if plan.local else [register],
        else_steps=[FailStep("TooLow", Join("", words))],
    )
    pipeline = Pipeline(
        values["--name"],
        parameters=[*data.values(), least],
        steps=[train, evaluate, good_enough],
        sagemaker_session=session,
    )
    return pipeline, register


def _finish_here(execution: Any, register: Any, session: Any) -> int:
    """What becomes of an execution in local mode, which runs no step that registers: a model that is good enough is
    registered by the request of that step, with this execution's values in it. Returns the exit code."""
    from sagemaker.local.pipeline import LocalPipelineExecutor

    if execution.failure_reason:
        print(f"failure reason: {execution.failure_reason}", file=sys.stderr)
        return 1
    (step,) = register.steps
    request = LocalPipelineExecutor(execution, session).evaluate_step_arguments(step)
    sagemaker = session.boto_session.client("sagemaker")
    group = {"ModelPackageGroupName": request["ModelPackageGroupName"]}
    try:
        sagemaker.describe_model_package_group(**group)
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        sagemaker.create_model_package_group(**group)
    answer = sagemaker.create_model_package(**request)
    print(f"registered, by the request of step {step.name}, which local mode does not run: {answer['ModelPackageArn']}")
    return 0


def _parser() -> argparse.ArgumentParser:
    """Takes every argument as text: `read_plan` tells every mistake, and not only the first."""
    parser, group = program_parser(
        "Trains, evaluates, and registers a model that is good enough, in a SageMaker pipeline.",
        GROUPS,
        "the definition",
    )
    group.add_argument(
        "--local",
        action="store_true",
        help="run the steps on this machine, in Docker; S3 and the model registry are AWS's all the same",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
