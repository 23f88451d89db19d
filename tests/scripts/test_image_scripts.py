"""What the image's scripts ask of docker and aws, which are stand-ins here that write down their arguments."""

import os
import subprocess
from pathlib import Path

import pytest

from sagemaker_object_detection import __version__

SCRIPTS = Path(__file__).parents[2] / "scripts"
ADDRESS = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
RECORD = """#!/bin/sh
echo "${0##*/} $*" >>"$CALLS"
case "${0##*/} $*" in
"docker image inspect --format"*) echo 1709000000 ;;
"docker login"*) echo "password: $(cat)" >>"$CALLS" ;;
"docker build"*) echo "index: ${PIP_INDEX_URL:-} proxy: ${https_proxy:-}" >>"$CALLS" ;;
"aws sts"*) echo 123456789012 ;;
"aws configure"*) echo eu-central-1 ;;
"aws ecr get-login-password"*) echo secret ;;
"aws ecr describe-repositories"*) [ -z "${ANSWER:-}" ] || { echo "$ANSWER" >&2; exit 254; } ;;
esac
"""
# No pip of this machine: the build is to see only what a test sets.
NO_PIP = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def call(tmp_path):
    """Runs a script; returns the finished process and the calls it made."""
    (tmp_path / "bin").mkdir()
    for name, text in (("docker", RECORD), ("aws", RECORD), ("python3", NO_PIP)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    calls = tmp_path / "calls"

    def call(script, *arguments, **environment):
        calls.write_text("")
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [SCRIPTS / script, *arguments],
            env={"PATH": path, "CALLS": str(calls), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, calls.read_text().splitlines()

    return call


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


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("build_image.sh", ["--variant", "tpu"], "build_image: --variant is 'tpu'; expected gpu or cpu"),
        ("build_image.sh", ["--tag"], "build_image: --tag needs a value"),
        ("build_image.sh", ["now"], "scripts/build_image.sh [--variant gpu|cpu] [--tag TAG]"),
        ("push_image.sh", ["--dry-run"], "push_image: no region: give --region, or set AWS_REGION"),
        ("push_image.sh", ["--dry-run", "--region", "x"], "push_image: no account: --dry-run asks nobody, so give"),
        ("push_image.sh", ["--region", "x", "--account", "12"], "push_image: the account is '12'; expected 12 digits"),
        ("push_image.sh", ["--image", "a@sha256:0"], "push_image: --image is 'a@sha256:0'; expected a name with a tag"),
        ("train_docker.sh", ["a", "b"], "scripts/train_docker.sh [--variant cpu|gpu] [FOLDER]"),
    ],
)
def test_a_wrong_call_ends_with_a_sentence_before_anything_is_done(call, script, arguments, sentence):
    done, calls = call(script, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert calls == []


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
