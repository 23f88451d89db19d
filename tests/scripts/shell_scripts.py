"""How the tests of the shell scripts run them: beside stand-ins for docker and aws that write down their arguments."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
RECORD = """#!/bin/sh
echo "${0##*/} $*" >>"$CALLS"
case "${0##*/} $*" in
"docker image inspect --format {{index"*) [ -n "${LABEL+set}" ] && echo "$LABEL" || exit 1 ;;
"docker image inspect --format"*) echo 1709000000 ;;
"docker login"*) echo "password: $(cat)" >>"$CALLS" ;;
"docker build"*)
    echo "index: ${PIP_INDEX_URL:-} proxy: ${https_proxy:-}" >>"$CALLS"
    [ ! -e container/cuda-compat.deb ] || echo "cuda-compat: $(cat container/cuda-compat.deb)" >>"$CALLS"
    ;;
"aws sts"*) echo 123456789012 ;;
"aws configure"*) echo eu-central-1 ;;
"aws ecr get-login-password"*) echo secret ;;
"aws ecr describe-repositories"*) [ -z "${ANSWER:-}" ] || { echo "$ANSWER" >&2; exit 254; } ;;
esac
"""
NVIDIA_SMI = '#!/bin/sh\n[ -n "${GPU:-}" ]\n'
# No pip of this machine: the build is to see only what a test sets.
NO_PIP = "#!/bin/sh\nexit 1\n"


Call = Callable[..., tuple[subprocess.CompletedProcess[str], list[str]]]


def caller(tmp_path: Path) -> Call:
    """What runs a script and returns the finished process and the calls it made."""
    (tmp_path / "bin").mkdir()
    for name, text in (("docker", RECORD), ("aws", RECORD), ("python3", NO_PIP), ("nvidia-smi", NVIDIA_SMI)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    calls = tmp_path / "calls"

    def call(
        script: str, *arguments: str | Path, **environment: str
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
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
