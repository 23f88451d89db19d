"""The GPU image on a machine that seems to have a GPU.

A library that stands for the driver claims one H100, far enough for TensorFlow to open its CUDA libraries and list it.
Nothing can be computed there. It lies where the NVIDIA container runtime puts the machine's own.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import requests
from conftest import write_job
from containers import ContainerJob, Finished, build, docker, run, running
from shared import fake_driver

pytestmark = pytest.mark.docker

DRIVERS = "/usr/lib/x86_64-linux-gnu"
PACKAGES = "/opt/venv/lib/python3.11/site-packages/nvidia"
LIST = ["python", "-c", "import tensorflow as tf; print(tf.config.list_physical_devices('GPU'))"]
TOO_OLD = (
    "the machine's NVIDIA driver is too old: it is for CUDA 11.4, and Fake H100 (compute capability 9.0) needs driver "
    "555 or newer, for CUDA 12.5; "
)
OLD = ("--env", "FAKE_DRIVER=11040")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_driver(tmp_path_factory.mktemp("driver"))


def mounted(libraries: Path, *names: str) -> list[str]:
    return [part for name in names for part in ("--volume", f"{libraries / name}:{DRIVERS}/{name}:ro")]


@pytest.fixture(scope="module")
def driver(libraries: Path) -> list[str]:
    """Options of docker that give a container the GPU."""
    return mounted(libraries, "libcuda.so.1", "libnvidia-ml.so.1")


def write_root(sample_root: Path, root: Path) -> Path:
    """A folder for /opt/ml with a job that is right."""
    shutil.copytree(sample_root / "input/data", root / "input/data")
    write_job(root, {"pretrained_weights": "none", "epochs": "1", "batch_size": "4"})
    return root


@pytest.fixture
def root(sample_root: Path, tmp_path: Path) -> Path:
    return write_root(sample_root, tmp_path)


@pytest.fixture(scope="module")
def trained_on_the_cpu(gpu_image: str, sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ContainerJob:
    """A job on a machine without a GPU."""
    root = write_root(sample_root, tmp_path_factory.mktemp("without-a-gpu"))
    return ContainerJob(run(gpu_image, root=root, timeout=900), root)


def assert_refused(finished: Finished, root: Path, *sentences: str) -> None:
    assert finished.code == 3, finished.output + finished.errors
    failure = (root / "output/failure").read_text()
    assert failure.startswith("PlatformError: ")
    for sentence in sentences:
        assert sentence in finished.output
        assert sentence in failure


@pytest.mark.parametrize(
    "options", [(), ("--env", "LD_LIBRARY_PATH=/usr/local/nvidia/lib64")], ids=["plain", "path set"]
)
def test_tensorflow_loads_every_library_and_lists_the_gpu(
    gpu_image: str, driver: list[str], options: tuple[str, ...]
) -> None:
    listed = run(gpu_image, *driver, *options, command=LIST)
    assert listed.output == "[PhysicalDevice(name='/physical_device:GPU:0', device_type='GPU')]\n", listed.errors


def test_a_driver_that_is_too_old_ends_the_job_in_the_first_second(
    gpu_image: str, driver: list[str], root: Path
) -> None:
    finished = run(gpu_image, *driver, *OLD, root=root)
    assert_refused(finished, root, TOO_OLD, "InferenceAmiVersion", "cuda-compat", "CUDA_VISIBLE_DEVICES to -1")
    # Under a second where nothing else runs; the rest is room for a busy machine.
    assert finished.seconds < 15


def test_it_is_told_with_everything_else_that_is_wrong(gpu_image: str, driver: list[str], root: Path) -> None:
    write_job(root, {"pretrained_weights": "none", "epochs": "many"})
    finished = run(gpu_image, *driver, *OLD, root=root)
    assert finished.code == 2
    failure = (root / "output/failure").read_text()
    assert failure.startswith("UserError: 1 of 2: epochs: got 'many'")
    assert f"2 of 2: {TOO_OLD}" in failure


def test_check_notes_it_and_needs_no_gpu(gpu_image: str, driver: list[str], root: Path) -> None:
    finished = run(gpu_image, *driver, *OLD, command=["check"], root=root)
    assert finished.code == 0, finished.output + finished.errors
    assert f"note: on this machine the job would end with exit code 3: {TOO_OLD}" in finished.output


def test_it_trains_on_a_machine_without_a_gpu(trained_on_the_cpu: ContainerJob) -> None:
    end = trained_on_the_cpu.end
    assert end.code == 0, end.output + end.errors
    assert re.search(r"^Training on the CPU: TensorFlow \S+ sees no GPU, and the machine has none\.$", end.output, re.M)


@pytest.mark.parametrize(
    ("folder", "library"),
    [("cusolver", "libcusolver.so.11"), ("cudnn", "libcudnn.so.9"), ("cublas", "libcublas.so.12")],
)
def test_a_library_that_is_missing_is_named(
    gpu_image: str, driver: list[str], root: Path, folder: str, library: str
) -> None:
    finished = run(gpu_image, *driver, "--tmpfs", f"{PACKAGES}/{folder}/lib", root=root)
    assert_refused(finished, root, "this machine has a GPU (Fake H100 (compute capability 9.0)), but ", library)
    assert "driver is too old" not in finished.output


def test_the_drivers_own_library_is_named_where_it_is_missing(gpu_image: str, libraries: Path, root: Path) -> None:
    finished = run(gpu_image, *mounted(libraries, "libcuda.so.1"), root=root)
    assert_refused(finished, root, "it cannot load libnvidia-ml.so.1", "NVIDIA_DRIVER_CAPABILITIES=compute,utility")


def test_a_gpu_that_is_listed_and_cannot_compute_ends_the_job(gpu_image: str, driver: list[str], root: Path) -> None:
    finished = run(gpu_image, *driver, root=root)
    assert_refused(finished, root, "TensorFlow lists 1 GPU and cannot compute: GPU:0 fails with InternalError: ")


@pytest.mark.parametrize(
    ("options", "reason"), [(OLD, TOO_OLD), ((), "TensorFlow lists 1 GPU and cannot compute: ")], ids=["old", "broken"]
)
def test_a_server_answers_on_the_cpu(
    gpu_image: str,
    driver: list[str],
    trained_on_the_cpu: ContainerJob,
    options: tuple[str, ...],
    reason: str,
) -> None:
    model = trained_on_the_cpu.root / "model"
    image = next((trained_on_the_cpu.root / "input/data/validation/images").iterdir())
    network = ("--network", "bridge", "--publish", "127.0.0.1::8080", "--volume", f"{model}:/opt/ml/model:ro")
    with running(gpu_image, *driver, *options, *network, command=["serve"]) as container:
        container.wait_for(f"WARNING: The CPU answers: {reason}")
        container.wait_for(", on the CPU, up to ")
        address = "http://" + docker("port", container.name, "8080/tcp").stdout.splitlines()[0]
        answer = requests.post(
            f"{address}/invocations", image.read_bytes(), headers={"Content-Type": "application/x-image"}, timeout=60
        )
        assert answer.status_code == 200, answer.text


def test_cuda_compat_lies_where_the_start_script_looks_for_it(engine: None, libraries: Path, tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb, to make a package like NVIDIA's")
    compat = tmp_path / "package/usr/local/cuda-12.9/compat"
    compat.mkdir(parents=True)
    shutil.copy(libraries / "libcuda.so.1", compat / "libcuda.so.575.57.08")
    (compat / "libcuda.so.1").symlink_to("libcuda.so.575.57.08")
    (tmp_path / "package/DEBIAN").mkdir()
    (tmp_path / "package/DEBIAN/control").write_text(
        "Package: cuda-compat-12-9\nVersion: 575.57.08-1\nArchitecture: amd64\n"
        "Maintainer: a test\nDescription: a test\n"
    )
    subprocess.run(["dpkg-deb", "--build", tmp_path / "package", tmp_path / "compat.deb"], check=True)
    tag = "sagemaker-object-detection:cuda-compat-test"
    try:
        assert build("--variant", "cpu", "--tag", tag, "--cuda-compat", tmp_path / "compat.deb") == tag
        listed = run(tag, command=["ls", "/usr/local/cuda/compat"])
        assert listed.output.split() == ["libcuda.so.1", "libcuda.so.575.57.08"], listed.errors
    finally:
        docker("image", "rm", "--force", tag)
