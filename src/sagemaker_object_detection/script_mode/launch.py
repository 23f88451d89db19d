"""The process that becomes the job's own script: `python -P -m ...script_mode.launch REPORT`, started by script mode.

sagemaker-training fetches the code, installs it, and makes SM_* variables and the command line of the job's files. It
is imported nowhere else: that takes a second and makes a folder. Its own runner is left out, which hides exit codes and
signals and prints every hyperparameter.

REPORT is a file descriptor, which gets a JSON object a line: "started", or why the script could not be.
"""

import json
import logging
import os
import signal
import sys
import sysconfig
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sagemaker_object_detection.errors import AlgorithmError, JobError, PlatformError, UserError, first_line
from sagemaker_object_detection.job.config import DIRECTORY, SCRIPT
from sagemaker_object_detection.job.failure import exit_code, failure_text
from sagemaker_object_detection.job.hosts import await_hosts
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.sentences import listed

log = logging.getLogger("sagemaker_object_detection.script_mode.launch")


class InstallError(Exception):
    """pip failed, and has said why on stderr; the text is what was to be installed."""


def main(report: int) -> NoReturn:
    """Prepare the script and become it; on the way there, every error goes to `report`."""
    os.set_inheritable(report, False)  # so that the script, and what pip starts, do not keep it open
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    # And the toolkit's stays at WARNING: its INFO lines show hyperparameters.
    logging.getLogger("sagemaker_object_detection").setLevel(logging.INFO)
    try:
        paths = Paths.find()
        command = prepare(paths)
        os.chdir(paths.code)
        _tell(report, started=True)
        sys.stdout.flush()
        # Python ignores these; an ignored signal stays ignored across exec, and `yes | head` in a shell would not end.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execv(command[0], command)
    except InstallError as error:
        advice = (
            "; correct it, and where there is no network (network isolation, a VPC) bring the packages in source_dir "
            "or in an image of your own"
        )
        problem = f"pip could not install {error}"
        _tell(report, blame=UserError.exit_code, problem=problem, advice_after_stderr=advice)
    except JobError as error:
        _tell(report, blame=error.exit_code, problem=str(error))
    except Exception as error:
        blame, text = exit_code(error), failure_text(error).partition(": ")[2]
        if blame == AlgorithmError.exit_code:
            log.exception("sagemaker-training failed before the script began.")
            text = f"sagemaker-training failed before the script began: {text.splitlines()[0]}"
        _tell(report, blame=blame, problem=text)
    sys.exit(1)


def prepare(paths: Paths) -> list[str]:
    """The command that is the script, after its code is in `paths.code` and what it needs is installed.

    Changes this process's environment into the script's.

    Raises:
        UserError: the code is missing, cannot be fetched, or its name is not one.
        PlatformError: the network, or a host of the job, is not there.
        InstallError: requirements.txt or the package of the code could not be installed.
    """
    # The toolkit takes its folders from the environment, when it is imported.
    from sagemaker_training import errors, process

    job = _environment(paths)
    program = str(job.user_entry_point)
    try:
        process.validate_entry_point(program)
    except errors.ClientError as error:
        raise UserError(f"{SCRIPT}: {error}") from None
    if job.additional_framework_parameters.get("sagemaker_mpi_enabled"):
        raise UserError(
            "sagemaker_mpi_enabled: this image has no MPI; remove distribution from the estimator. The names of the "
            "hosts are in SM_HOSTS, for tf.distribute and the like"
        )
    _fetch(paths, job.module_dir)
    _require(paths, program)
    _install(paths, program)
    if len(job.hosts) > 1:  # without a network not even the host's own name resolves
        await_hosts(job.hosts)
    os.environ.update(job.to_env_vars())
    os.environ["PYTHONPATH"] = os.pathsep.join(_module_folders(paths))
    runner = process.ProcessRunner(program, job.to_cmd_args(), {}, 1)
    command: list[str] = runner._create_command()
    return command


def _environment(paths: Paths) -> Any:
    """The toolkit's view of the job, also where a run by hand has no files but the hyperparameters."""
    from sagemaker_training import environment

    class Given(dict[str, Any]):
        """Counts as given although it is empty: the toolkit would look for the file, and fail."""

        def __bool__(self) -> bool:
            return True

    resources, channels = None, None
    if not paths.resourceconfig.exists():
        resources = Given(current_host="algo-1", hosts=["algo-1"])
    if not paths.inputdataconfig.exists():
        data = paths.channel("")
        folders = sorted(folder.name for folder in data.iterdir() if folder.is_dir()) if data.is_dir() else ()
        channels = Given({name: {} for name in folders})
    try:
        return environment.Environment(resource_config=resources, input_data_config=channels)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{paths.hyperparameters.parent}: sagemaker-training cannot read the job's files "
            f"({type(error).__name__}: {first_line(error)}); expected them as SageMaker writes them"
        ) from None


def _fetch(paths: Paths, source: str) -> None:
    """The code into `paths.code`, from where the job says it is, unless it is there already, as in local mode."""
    import tarfile

    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    from sagemaker_training import files

    if any(paths.code.iterdir()):
        log.info("%s is not empty: the script is taken from there, and nothing is fetched.", paths.code)
        return
    if source.startswith("file://"):
        source = urllib.request.url2pathname(urllib.parse.urlsplit(source).path)
    if not source.startswith("s3://"):
        place = paths.code if source == "None" else paths.relocated(source)
        if place == paths.code:
            raise UserError(
                f"{paths.code}: is empty, and the job does not say where its script is; expected {DIRECTORY} to be an "
                "s3:// address, as entry_point and source_dir of an estimator make it, or the code in this folder"
            )
        if not place.exists():
            raise UserError(
                f"{DIRECTORY}: got {source!r}; there is no such folder or archive in the container: mount it, or give "
                "an s3:// address of a .tar.gz"
            )
        source = str(place)
    advice = "check that it is there and that the job's role may read it; under network isolation nothing is fetched"
    try:
        files.download_and_extract(source, str(paths.code))
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{DIRECTORY}: {source} is no .tar.gz ({first_line(error)})") from None
    except (ClientError, BotoCoreError) as error:
        blame = UserError if isinstance(error, (ClientError, NoCredentialsError)) else PlatformError
        raise blame(f"{DIRECTORY}: {source} cannot be fetched ({first_line(error)}); {advice}") from None


def _require(paths: Paths, program: str) -> None:
    if _is_package(paths, program) or (paths.code / program).is_file():
        return
    names = sorted(path.name for path in paths.code.iterdir())
    content = f"holds {listed(names)}" if names else "is empty"
    raise UserError(
        f"{SCRIPT}: got {program!r}; there is no such file in {paths.code}, which {content}: entry_point is the path "
        "of the script inside of source_dir"
    )


def _is_package(paths: Paths, program: str) -> bool:
    """As the toolkit has it: such a program is a module, which may come to be only when the package is installed."""
    return (paths.code / "setup.py").exists() and not program.endswith(".sh")


def _install(paths: Paths, program: str) -> None:
    from sagemaker_training import entry_point, errors

    settings = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    if _is_package(paths, program) and not (paths.code / "pyproject.toml").exists():
        # Such a package is built by setuptools, which is here; pip would fetch it, and fail without a network. The
        # variable means the opposite of what it says (pypa/pip#5735).
        settings["PIP_NO_BUILD_ISOLATION"] = "0"
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        entry_point.install(program, str(paths.code))
    except errors.InstallRequirementsError:
        raise InstallError("requirements.txt") from None
    except errors.InstallModuleError:
        raise InstallError("the package that setup.py describes") from None
    except errors.ClientError as error:
        raise UserError(f"{SCRIPT}: {error}") from None
    except OSError as error:
        # The toolkit cannot set a shell script's run bits on a read-only mount, where they may be set already.
        path = paths.code / program
        if program.endswith(".py") or _is_package(paths, program):
            raise
        if not os.access(path, os.X_OK):
            raise UserError(
                f"{SCRIPT}: {path} cannot be run, and its run bits cannot be set ({error.strerror}): run chmod +x on it"
            ) from None
    finally:
        for name in added:
            del os.environ[name]


def _module_folders(paths: Paths) -> Sequence[str]:
    """Where the script finds modules besides what is installed: its code, and this package if it is not installed."""
    given = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    ours = str(Path(__file__).parents[2])
    folders = [str(paths.code), *given]
    return folders if ours in (*folders, sysconfig.get_path("purelib")) else [*folders, ours]


def _tell(report: int, **message: object) -> None:
    os.write(report, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
