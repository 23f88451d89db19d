"""Jobs that bring a script of their own, and how they have to end: in a process of this machine, and in a container."""

import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

ROOT = "ROOT"
"""Stands for the job's root in a text that is expected: a folder of this machine, or /opt/ml."""


@dataclass(frozen=True)
class ScriptJob:
    """A job in script mode.

    `failure` is what the failure file begins with, None where there is to be none; `leaves` is what files below the
    root hold afterwards.
    """

    name: str
    program: str = "train.py"
    files: dict[str, str] = field(default_factory=dict)
    hyperparameters: dict[str, str] = field(default_factory=dict)
    code: int = 0
    failure: str | None = None
    leaves: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        """As an estimator with entry_point= writes it: every text is quoted once more."""
        values = {**self.hyperparameters, "sagemaker_program": json.dumps(self.program)}
        (root / "input/config").mkdir(parents=True)
        (root / "input/config/hyperparameters.json").write_text(json.dumps(values))
        (root / "code").mkdir()
        for name, text in self.files.items():
            path = root / "code" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def check(self, root: Path, shown_root: str, code: int) -> None:
        failure = root / "output/failure"
        text = failure.read_text() if failure.exists() else None
        assert code == self.code, text
        if self.failure is None:
            assert text is None
        else:
            assert text is not None
            assert text.startswith(self.failure.replace(ROOT, shown_root))
            assert len(text) <= 1024
        for name, expected in self.leaves.items():
            assert (root / name).read_text() == expected


SAVE_ARGUMENTS = """
    import json, os, sys
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "arguments"), "w") as file:
        json.dump(sys.argv[1:], file)
"""
SETUP = 'from setuptools import setup\nsetup(name="mine", version="1", py_modules=["mine"])\n'
ENDED = "The script train.py ended with exit code"

JOBS = [
    ScriptJob(
        "hyperparameters become arguments",
        files={"train.py": SAVE_ARGUMENTS},
        hyperparameters={
            "epochs": "5",
            "learning_rate": "1e-05",
            "name": '"a b; touch c"',
            "flag": "true",
            "x": '"short"',
            "nothing_of_ours": "judges this",
            "sagemaker_region": '"eu-west-1"',
            "_tuning_objective_metric": '"mAP"',
        },
        leaves={
            "model/arguments": '["--epochs", "5", "--flag", "True", "--learning_rate", "1e-05", "--name", '
            '"a b; touch c", "--nothing_of_ours", "judges this", "-x", "short"]'
        },
    ),
    ScriptJob(
        "the environment has the job in it",
        files={
            "train.py": """
                import os
                names = ("SM_HP_EPOCHS", "SM_HOSTS", "SM_CURRENT_HOST", "SM_MODULE_NAME", "PYTHONUNBUFFERED")
                with open(os.environ["SM_OUTPUT_DATA_DIR"] + "/seen", "w") as file:
                    file.write(" ".join(os.environ[name] for name in names))
            """
        },
        hyperparameters={"epochs": "5"},
        leaves={"output/data/seen": '5 ["algo-1"] algo-1 train 1'},
    ),
    ScriptJob(
        "this package and the rest of the code can be imported",
        program="deep/train.py",
        files={
            "deep/train.py": """
                import os
                import beside
                from sagemaker_object_detection.catalogue import DEFAULT_MODEL
                with open(os.path.join(os.environ["SM_MODEL_DIR"], "seen"), "w") as file:
                    file.write(f"{beside.VALUE} {DEFAULT_MODEL.name}")
            """,
            "beside.py": "VALUE = 7\n",
        },
        leaves={"model/seen": "7 ssd_mobilenet_v2_fpnlite_320x320"},
    ),
    ScriptJob(
        "its exit code is the job's",
        files={"train.py": 'import sys\nprint("the folder is empty", file=sys.stderr)\nsys.exit(3)\n'},
        code=3,
        failure=f"the folder is empty\n{ENDED} 3.",
    ),
    ScriptJob(
        "an exit code without a word",
        files={"train.py": "import sys\nsys.exit(7)\n"},
        code=7,
        failure=f"{ENDED} 7; it wrote nothing to stderr.",
    ),
    ScriptJob(
        "an exception is the cause",
        files={
            "train.py": """
                import atexit, sys
                def fail(depth):
                    if depth: fail(depth - 1)
                    raise ValueError("no boxes in a.png\\nnor in b.png")
                try:
                    {}["first"]
                except KeyError:
                    fail(30)
            """
        },
        code=1,
        failure=f"ValueError: no boxes in a.png\nnor in b.png\n{ENDED} 1.\n",
    ),
    ScriptJob(
        "the exit code of a package's module",
        program="mine.py",
        files={"setup.py": SETUP, "mine.py": 'import sys\nprint("as a module", file=sys.stderr)\nsys.exit(3)\n'},
        code=3,
        failure="as a module\nThe script mine.py ended with exit code 3.",
    ),
    ScriptJob(
        "a shell script",
        program="train.sh",
        files={"train.sh": '#!/bin/sh\necho "$@" > "$SM_MODEL_DIR/arguments"\necho "out of paper" >&2\nexit 4\n'},
        hyperparameters={"epochs": "5", "name": '"$HOME; x"'},
        code=4,
        failure="out of paper\nThe script train.sh ended with exit code 4.",
        leaves={"model/arguments": "--epochs 5 --name $HOME; x\n"},
    ),
    ScriptJob(
        "the machine's memory is full",
        files={"train.py": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"},
        code=137,
        failure="The script train.py was ended by SIGKILL (signal 9), as a machine does when its memory is full: "
        "choose an instance type with more",
    ),
    ScriptJob(
        "a script may write the failure file itself",
        files={
            "train.py": """
                import os, sys
                with open(os.environ["SM_OUTPUT_DIR"] + "/failure", "w") as file:
                    file.write("my own reason")
                sys.exit("and a last word")
            """
        },
        code=1,
        failure="my own reason",
    ),
    ScriptJob(
        "a script that is not there",
        program="absent.py",
        files={"train.py": "", "readme.txt": ""},
        code=2,
        failure="UserError: sagemaker_program: got 'absent.py'; there is no such file in ROOT/code, which holds "
        "readme.txt, train.py: entry_point is the path of the script inside of source_dir",
    ),
    ScriptJob(
        "a name that reaches outside",
        program="../train.py",
        files={"train.py": ""},
        code=2,
        failure="UserError: sagemaker_program: The training entry point '../train.py' cannot be used",
    ),
    ScriptJob(
        "a source directory that is not there",
        hyperparameters={"sagemaker_submit_directory": '"/nowhere/at/all"'},
        code=2,
        failure="UserError: sagemaker_submit_directory: got '/nowhere/at/all'; there is no such folder or archive in "
        "the container: mount it, or give an s3:// address of a .tar.gz",
    ),
    ScriptJob(
        "no code at all",
        code=2,
        failure="UserError: ROOT/code: is empty, and the job does not say where its script is; expected "
        "sagemaker_submit_directory to be an s3:// address",
    ),
    ScriptJob(
        "requirements that cannot be installed",
        files={"train.py": "", "requirements.txt": "--no-index\nno-such-package\n"},
        code=2,
        failure="UserError: pip could not install requirements.txt: No matching distribution found for "
        "no-such-package; correct it, and where there is no network",
    ),
    ScriptJob(
        "MPI",
        files={"train.py": ""},
        hyperparameters={"sagemaker_mpi_enabled": "true"},
        code=2,
        failure="UserError: sagemaker_mpi_enabled: this image has no MPI; remove distribution from the estimator.",
    ),
]

# Scripts that SIGTERM finds at work: each writes `ready` when it may be sent.
_READY = 'open(os.environ["SM_OUTPUT_DATA_DIR"] + "/ready", "w").close()'
SAVES_WHEN_STOPPED = f"""
    import os, signal, sys, time
    def save(number, frame):
        time.sleep(0.5)
        with open(os.environ["SM_MODEL_DIR"] + "/saved", "w") as file:
            file.write("in time")
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    {_READY}
    while True:
        time.sleep(0.05)
"""

STOPPED_JOBS = [
    ScriptJob(
        "a script that saves",
        files={"train.py": SAVES_WHEN_STOPPED},
        leaves={"model/saved": "in time"},
    ),
    ScriptJob(
        "a script that does not care",
        files={
            "train.py": f"""
                import os, signal, sys, time
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                {_READY}
                time.sleep(2)
                sys.exit(5)
            """
        },
        code=5,
        failure=f"{ENDED} 5; it wrote nothing to stderr.",
    ),
    ScriptJob(
        "a script without a handler",
        files={"train.py": f"import os, time\n{_READY}\ntime.sleep(600)\n"},
        code=143,
        failure="The script train.py was ended by SIGTERM (signal 15), which it does not handle: a job that is stopped "
        "has 120 seconds from then on to save its work.",
    ),
    ScriptJob(
        "what a shell script has started may save",
        program="train.sh",
        files={"train.sh": "#!/bin/sh\npython saves.py\nexit 0\n", "saves.py": SAVES_WHEN_STOPPED},
        code=143,
        failure="The script train.sh was ended by SIGTERM (signal 15)",
        leaves={"model/saved": "in time"},
    ),
]
