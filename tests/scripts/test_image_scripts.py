"""What the image's scripts ask of docker and aws, which are stand-ins here."""

import re

import botocore.session
import pytest
from shell_scripts import caller

from sagemaker_object_detection import __version__
from sagemaker_object_detection.launch.addresses import image_fault

ADDRESS = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def call(tmp_path):
    return caller(tmp_path)


def test_the_gpu_image_is_built_by_default_and_its_size_is_told(call):
    done, calls = call("build_image.sh")
    assert (done.returncode, done.stdout) == (0, "image: sagemaker-object-detection:gpu, 1709 MB\n")
    assert calls[0] == "docker info"
    assert calls[1].startswith(
        "docker build --tag sagemaker-object-detection:gpu --force-rm --build-arg VARIANT=gpu "
        f"--build-arg BAKED_MODELS= --build-arg BAKED_FROM= --build-arg VERSION={__version__} --build-arg REVISION="
    )
    assert calls[1].endswith(" .")
    assert calls[2:] == [
        "index:  proxy: ",
        "docker image inspect --format {{.Size}} sagemaker-object-detection:gpu",
    ]


def test_what_a_build_is_asked_for_reaches_it(call):
    models = ("--bake", "ssd_mobilenet_v2_fpnlite_320x320", "--bake", "ssd_efficientdet_d0_512x512")
    done, calls = call(
        "build_image.sh", "--variant", "cpu", "--tag", "mine:1", *models, "--", "--network=host", "--pull"
    )
    assert done.returncode == 0, done.stderr
    assert calls[1].startswith(
        "docker build --tag mine:1 --force-rm --build-arg VARIANT=cpu "
        "--build-arg BAKED_MODELS=ssd_mobilenet_v2_fpnlite_320x320 ssd_efficientdet_d0_512x512 --build-arg BAKED_FROM= "
    )
    assert calls[1].endswith(" --network=host --pull .")


def test_a_build_uses_this_machines_index_and_proxy_and_names_them_on_no_command_line(call):
    index, proxy = "https://user:secret@index.invalid/simple", "http://proxy.invalid:3128"
    done, calls = call("build_image.sh", PIP_INDEX_URL=index, https_proxy=proxy)
    assert done.returncode == 0, done.stderr
    assert "--build-arg PIP_INDEX_URL" in calls[1]
    assert "--build-arg https_proxy" in calls[1]
    assert "invalid" not in calls[1]
    assert calls[2] == f"index: {index} proxy: {proxy}"


def runs(calls):
    """The containers that train_docker.sh ran: options, image and command of each, less what is the same in all."""
    return [re.sub(r".*--volume \S+:/opt/ml ", "", line) for line in calls if line.startswith("docker run")]


def test_a_job_in_a_container_runs_an_image_beside_the_users_own(call, tmp_path):
    done, calls = call("train_docker.sh", tmp_path / "job")
    assert done.returncode == 0, done.stderr
    image = "sagemaker-object-detection:demo-cpu"
    assert [line.split(" --force-rm")[0] for line in calls if " build " in line] == [f"docker build --tag {image}"]
    assert runs(calls) == [f"{image} sample-data /opt/ml/input/data --images 80 --validation-images 16 --seed 1", image]
    assert done.stdout.splitlines() == [
        f"image: {image}, 1709 MB",
        f"model:    {tmp_path}/job/model",
        f"metrics:  {tmp_path}/job/output/data/metrics.json",
        f"report:   {tmp_path}/job/output/data/report.html",
    ]


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {"LABEL": "cpu"}, "mine:1"),
        ([], {"LABEL": "gpu"}, "mine:1"),
        ([], {"LABEL": "cpu", "GPU": "1"}, "mine:1"),
        ([], {"LABEL": "gpu", "GPU": "1"}, "--gpus all --shm-size 1g mine:1"),
        ([], {"LABEL": "", "GPU": "1"}, "--gpus all --shm-size 1g mine:1"),
        (["--variant", "cpu"], {"LABEL": "gpu", "GPU": "1"}, "mine:1"),
        (["--variant", "gpu"], {"LABEL": "gpu"}, "--gpus all --shm-size 1g mine:1"),
    ],
)
def test_an_image_that_is_given_is_run_as_it_is(call, tmp_path, arguments, environment, expected):
    done, calls = call("train_docker.sh", "--image", "mine:1", *arguments, tmp_path / "job", **environment)
    assert done.returncode == 0, done.stderr
    assert not any(" build " in line or " tag " in line for line in calls)
    assert [line.split()[0] for line in runs(calls)] == ["mine:1", expected.split()[0]]
    assert runs(calls)[1] == expected


def test_an_image_that_is_not_there_is_told(call, tmp_path):
    done, calls = call("train_docker.sh", "--image", "mine:1", tmp_path / "job")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "train_docker: there is no image 'mine:1' on this machine; pull it, build it with build_image.sh, or leave "
        "--image out\n"
    )
    assert runs(calls) == []
    assert not (tmp_path / "job").exists()


def test_a_folder_is_named_from_where_the_script_is_called(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done, _ = call("train_docker.sh", "--image", "mine:1", "a job", LABEL="cpu")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a job/input/config/hyperparameters.json").is_file()


def test_every_region_that_botocore_knows_has_its_partitions_domain(call):
    loader = botocore.session.get_session().get_component("data_loader")
    for partition in loader.load_data("partitions")["partitions"]:
        region = next(name for name in partition["regions"] if name[-1].isdigit())
        done, _ = call("push_image.sh", "--dry-run", "--account", "123456789012", "--region", region)
        suffix = partition["outputs"]["dnsSuffix"]
        address = f"123456789012.dkr.ecr.{region}.{suffix}/sagemaker-object-detection:gpu"
        assert done.stdout.splitlines()[-1:] == [address], done.stderr
        assert image_fault(address) == ""


def test_an_image_is_pushed_to_a_repository_that_is_there(call):
    done, calls = call("push_image.sh", "--image", "sagemaker-object-detection:cpu", AWS_REGION="eu-west-1")
    assert (done.returncode, done.stdout) == (0, f"{ADDRESS}/sagemaker-object-detection:cpu\n"), done.stderr
    assert calls == [
        "aws sts get-caller-identity --region eu-west-1 --query Account --output text",
        "docker image inspect sagemaker-object-detection:cpu",
        "aws ecr describe-repositories --registry-id 123456789012 --region eu-west-1 "
        "--repository-names sagemaker-object-detection",
        "aws ecr get-login-password --region eu-west-1",
        f"docker login --username AWS --password-stdin {ADDRESS}",
        "password: secret",
        f"docker tag sagemaker-object-detection:cpu {ADDRESS}/sagemaker-object-detection:cpu",
        f"docker push {ADDRESS}/sagemaker-object-detection:cpu",
    ]


def test_a_repository_that_is_not_there_is_made(call):
    names = ("--account", "123456789012", "--repository", "team/detector", "--tag", "1")
    answer = "An error occurred (RepositoryNotFoundException) when calling the DescribeRepositories operation"
    done, calls = call("push_image.sh", *names, ANSWER=answer)
    china = call("push_image.sh", *names, "--region", "cn-north-1")[0]
    assert done.returncode == 0, done.stderr
    made = "aws ecr create-repository --registry-id 123456789012 --region eu-central-1 --repository-name team/detector"
    assert made in calls
    assert done.stdout == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/detector:1\n"
    assert china.stdout == "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/detector:1\n"


def test_a_repository_that_may_not_be_seen_ends_it(call):
    answer = "An error occurred (AccessDeniedException)"
    done, calls = call("push_image.sh", "--account", "123456789012", ANSWER=answer)
    assert done.returncode == 2
    assert done.stderr == f"push_image: cannot look for the repository sagemaker-object-detection: {answer}\n"
    assert not any(line.startswith(("docker push", "docker login", "aws ecr create")) for line in calls)


def test_a_dry_run_prints_the_commands_and_makes_no_call(call):
    done, calls = call("push_image.sh", "--dry-run", "--region", "eu-west-1", "--account", "123456789012")
    assert (done.returncode, calls) == (0, [])
    assert done.stdout.splitlines()[-2:] == [
        f"docker push {ADDRESS}/sagemaker-object-detection:gpu",
        f"{ADDRESS}/sagemaker-object-detection:gpu",
    ]
