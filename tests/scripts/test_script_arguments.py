"""What the shell scripts say of their arguments before they do anything."""

import os

import pytest
from shell_scripts import SCRIPTS, caller

REGION = ["--dry-run", "--region", "eu-west-1"]


@pytest.fixture
def call(tmp_path):
    return caller(tmp_path)


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("build_image.sh", ["--variant", "tpu"], "build_image: --variant is 'tpu'; expected gpu or cpu"),
        ("build_image.sh", ["--tag"], "build_image: --tag needs a value"),
        ("build_image.sh", ["--tag", ""], "build_image: --tag is empty; give it a value, or leave it out"),
        ("build_image.sh", ["--bake", ""], "build_image: --bake is empty; give it a value, or leave it out"),
        ("build_image.sh", ["--cuda-compat"], "build_image: --cuda-compat needs a value"),
        (
            "build_image.sh",
            ["--cuda-compat", "/nowhere/compat.deb"],
            "build_image: --cuda-compat: there is no file /nowhere/compat.deb; name that of NVIDIA's package",
        ),
        ("push_image.sh", ["--dry-run"], "push_image: no region: give --region, or set AWS_REGION"),
        ("push_image.sh", REGION, "push_image: no account: --dry-run asks nobody, so give --account"),
        ("push_image.sh", [*REGION, "--account", "12"], "push_image: the account is '12'; expected 12 digits"),
        (
            "push_image.sh",
            [*REGION, "--account", "123456789012\n123456789012"],
            "push_image: the account is '123456789012\n123456789012'; expected 12 digits",
        ),
        (
            "push_image.sh",
            ["--image", "a@sha256:0"],
            "push_image: --image is 'a@sha256:0'; expected a name with a tag, not a digest",
        ),
        (
            "push_image.sh",
            ["--image", "detector 1"],
            "push_image: --image is 'detector 1:latest'; expected the name of an image on this machine, such as "
            "sagemaker-object-detection:cpu",
        ),
        ("push_image.sh", ["--region", ""], "push_image: --region is empty; give it a value, or leave it out"),
        *(
            (
                "push_image.sh",
                ["--dry-run", "--region", region],
                f"push_image: the region is '{region}'; expected one such as eu-west-1: give --region or set "
                "AWS_REGION",
            )
            for region in ("eu west 1", "REGION", "eu-west", "eu-west-1\n", "eu-west-1; true", "-eu-west-1")
        ),
        *(
            (
                "push_image.sh",
                ["--dry-run", "--repository", repository],
                f"push_image: the repository is '{repository}'; expected 2 to 256 lowercase letters and digits, with "
                "dots, hyphens, underscores and slashes between them, such as team/detector: give --repository",
            )
            for repository in (
                "my detector",
                "Detector",
                "d",
                "d" * 257,
                "/detector",
                "team//detector",
                "a..b",
                "$(true)",
            )
        ),
        *(
            (
                "push_image.sh",
                ["--dry-run", "--tag", tag],
                f"push_image: the tag is '{tag}'; expected at most 128 letters, digits, dots, hyphens and underscores, "
                "such as 1.0: give --tag",
            )
            for tag in ("a b", "a:b", ".1", "1" * 129)
        ),
        ("train_docker.sh", [""], "train_docker: FOLDER is empty; name a folder, or leave it out for demo/docker"),
        ("train_docker.sh", ["--variant", ""], "train_docker: --variant is empty; give it a value, or leave it out"),
        ("train_docker.sh", ["--variant", "tpu"], "train_docker: --variant is 'tpu'; expected gpu or cpu"),
        ("train_docker.sh", ["--image", ""], "train_docker: --image is empty; give it a value, or leave it out"),
        (
            "train_docker.sh",
            ["/tmp/a:b"],
            "train_docker: the folder is '/tmp/a:b', which docker cannot mount for its colon; name another folder",
        ),
        ("demo.sh", ["--epochs", "few"], "demo: --epochs: got 'few'; expected a whole number"),
        ("demo.sh", [""], "demo: FOLDER is empty; name a folder, or leave it out for demo/"),
    ],
)
def test_a_wrong_call_ends_with_a_sentence_before_anything_is_done(call, script, arguments, sentence):
    done, calls = call(script, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{sentence}\n")
    assert calls == []


USAGES = {
    "audit.sh": ["scripts/audit.sh [FOLDER] [-- PIP-AUDIT OPTIONS]"],
    "benchmark.sh": ["scripts/benchmark.sh [--only ROW,...] [--repeat N] [--json FILE] [--work DIR] [--quick]"],
    "build_image.sh": [
        "scripts/build_image.sh [--variant gpu|cpu] [--tag TAG] [--bake MODEL_ID]... [--bake-from ADDRESS] "
        "[-- DOCKER BUILD OPTIONS]",
        "scripts/build_image.sh --cuda-compat DEB [AS ABOVE]",
    ],
    "demo.sh": ["scripts/demo.sh [--epochs N] [FOLDER]"],
    "lock.sh": ["scripts/lock.sh"],
    "push_image.sh": [
        "scripts/push_image.sh [--image TAG] [--region REGION] [--account ID] [--repository NAME] [--tag TAG] "
        "[--dry-run]"
    ],
    "setup.sh": ["scripts/setup.sh"],
    "test.sh": ["scripts/test.sh [--all] [PYTEST ARGUMENTS]"],
    "test_clients.sh": [
        "scripts/test_clients.sh               SDK v2",
        "scripts/test_clients.sh sdk2 sdk3     and v3, whose environment is large",
        "scripts/test_clients.sh --smoke sdk2  one fit of v2, as .ci/run has it for every change",
    ],
    "test_gpu.sh": ["scripts/test_gpu.sh [PYTEST ARGUMENTS]"],
    "test_runtimes.sh": ["scripts/test_runtimes.sh [PYTEST ARGUMENTS]"],
    "train_docker.sh": ["scripts/train_docker.sh [--variant cpu|gpu] [--image IMAGE] [FOLDER]"],
}


def test_every_script_is_known_here():
    assert sorted(path.name for path in SCRIPTS.glob("*.sh") if os.access(path, os.X_OK)) == sorted(USAGES)


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("script", USAGES)
def test_help_is_what_the_script_says_at_its_head(call, script, flag):
    done, calls = call(script, flag)
    lines = (SCRIPTS / script).read_text().splitlines()[1:]
    head = [line[2:] for line in lines[: lines.index("set -eu")]]
    assert (done.returncode, done.stdout, done.stderr, calls) == (0, "\n".join(head) + "\n", "", [])
    assert [line.strip() for line in head if line.startswith("  scripts/")] == USAGES[script]


def test_help_is_found_behind_other_arguments(call):
    done, calls = call("push_image.sh", "--image", "detector:1", "--help")
    assert (done.returncode, done.stderr, calls) == (0, "", [])
    assert done.stdout.startswith("Pushes an image to Amazon ECR, ")


# These hand their arguments on, to what knows what to refuse.
HANDING_ON = ("benchmark.sh", "test.sh", "test_gpu.sh", "test_runtimes.sh")


@pytest.mark.parametrize("script", [script for script in USAGES if script not in HANDING_ON])
def test_an_unknown_argument_is_refused_with_the_usage(call, script):
    done, calls = call(script, "--frobnicate")
    usage = "".join(f"   {line}\n" for line in USAGES[script])
    said = f"{script.removesuffix('.sh')}: unknown argument '--frobnicate'; usage:\n{usage}"
    assert (done.returncode, done.stdout, done.stderr, calls) == (2, "", said, [])


@pytest.mark.parametrize(
    ("script", "arguments", "unknown"),
    [
        ("train_docker.sh", ["a", "b"], "b"),
        ("demo.sh", ["a", "b"], "b"),
        ("test_clients.sh", [""], ""),
        ("test_clients.sh", ["sdk2", "sdk4"], "sdk4"),
    ],
)
def test_one_argument_too_many_is_unknown(call, script, arguments, unknown):
    done, _ = call(script, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{script.removesuffix('.sh')}: unknown argument '{unknown}'; usage:\n   scripts/")


@pytest.mark.parametrize("script", ["train_docker.sh", "demo.sh"])
@pytest.mark.parametrize("part", ["input", "model", "output"])
def test_a_folder_with_an_earlier_job_is_left_alone(call, tmp_path, script, part):
    (tmp_path / "job" / part).mkdir(parents=True)
    done, calls = call(script, tmp_path / "job")
    assert done.returncode == 2
    assert done.stderr == (
        f"{script.removesuffix('.sh')}: {tmp_path}/job/{part} is there already; remove it, or name another folder\n"
    )
    assert calls == []
