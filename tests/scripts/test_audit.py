"""What scripts/audit.sh says, and with which exit code, as the service of known vulnerabilities answers or does not."""

import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from shell_scripts import SCRIPTS

# Ends as pip-audit does, which writes findings only where there are any.
PIP_AUDIT = """#!/bin/sh
file=$2
while [ "$1" != --output ]; do shift; done
case " $DOES " in
*" fail:${file##*/} "*) echo "requests.exceptions.ConnectionError: no route" >&2; exit 1 ;;
*" find:${file##*/} "*) echo "pillow 8.0.0 PYSEC-2021-331" >"$2"; exit 1 ;;
esac
"""
CYCLONEDX = """#!/bin/sh
lock=$2
while [ "$1" != --output-file ]; do shift; done
echo "{\\"of\\": \\"$lock\\"}" >"$2"
"""
CANARY = "find:pillow-8.0.0"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The script in a tree of its own, with stand-ins for its tools."""
    for name in ("audit.sh", "arguments.sh"):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        shutil.copy(SCRIPTS / name, tmp_path / "scripts")
    for name in ("audit.lock", ".venv-audit/.installed"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("tools")
    for name, text in (("pip-audit", PIP_AUDIT), ("cyclonedx-py", CYCLONEDX)):
        tool = tmp_path / ".venv-audit/bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(text)
        tool.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("does", "code", "sentence", "found"),
    [
        (CANARY, 0, "audit: gpu.lock: none is known", []),
        (f"{CANARY} find:gpu.lock", 1, "audit: gpu.lock has packages with known vulnerabilities:", ["gpu"]),
        (f"{CANARY} find:cpu.lock find:gpu.lock", 1, "pillow 8.0.0 PYSEC-2021-331", ["cpu", "gpu"]),
        (f"{CANARY} fail:gpu.lock", 3, "not checked: OSV did not answer what is known of gpu.lock", []),
        (f"{CANARY} find:cpu.lock fail:gpu.lock", 3, "not checked: OSV did not answer", ["cpu"]),
        ("fail:pillow-8.0.0", 3, "ConnectionError: no route\naudit: not checked: OSV did not answer", []),
        ("", 3, "not checked: OSV knows nothing of pillow 8.0.0", []),
    ],
)
def test_no_answer_is_not_no_vulnerability(copy: Path, does: str, code: int, sentence: str, found: list[str]) -> None:
    old = copy / "sbom/cpu.vulnerabilities.txt"
    old.parent.mkdir()
    old.write_text("of the night before")
    done = subprocess.run(
        [copy / "scripts/audit.sh"],
        env={"PATH": "/usr/bin:/bin", "DOES": does},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, sentence in done.stdout + done.stderr) == (code, True), done
    names = {"cpu.cdx.json", "gpu.cdx.json", *(f"{variant}.vulnerabilities.txt" for variant in found)}
    assert {path.name for path in (copy / "sbom").iterdir()} == names
    assert json.loads((copy / "sbom/gpu.cdx.json").read_text()) == {"of": "gpu.lock"}
    assert old.exists() == ("cpu" in found)


@contextmanager
def osv(vulnerable: tuple[str, ...], status: int = 200) -> Iterator[str]:
    """The address of a service that knows of these packages and no others."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = asked["package"]["name"]
            known = {"vulns": [{"id": f"PYSEC-{name}", "summary": "it hurts", "affected": []}]}
            content = json.dumps(known if name in vulnerable else {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("vulnerable", "status", "code", "sentence"),
    [
        (("absl-py", "pillow"), 200, 1, "PYSEC-absl-py"),
        (("absl-py", "pillow"), 500, 3, "OSV did not answer what is known of pillow-8.0.0"),
    ],
)
def test_the_real_tools_ask_and_list(
    tmp_path: Path, vulnerable: tuple[str, ...], status: int, code: int, sentence: str
) -> None:
    with osv(vulnerable, status) as address:
        command = [str(SCRIPTS / "audit.sh"), str(tmp_path / "sbom"), "--", "--osv-url", address]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, sentence in done.stdout + done.stderr) == (code, True), done
    written = json.loads((tmp_path / "sbom/gpu.cdx.json").read_text())
    assert (written["bomFormat"], written["specVersion"]) == ("CycloneDX", "1.6")
    locked = re.findall(r"^(\S+==\S+)", (SCRIPTS.parent / "gpu.lock").read_text(), re.MULTILINE)
    assert [f"{each['name']}=={each['version']}" for each in written["components"]] == locked
    assert all(each["externalReferences"][0]["hashes"] for each in written["components"])


@pytest.mark.parametrize(("code", "ends", "noted"), [(0, 0, "[]\n"), (1, 1, ""), (2, 2, ""), (3, 0, "[1]\n")])
def test_the_night_fails_for_a_vulnerability_and_notes_a_missing_answer(copy, code, ends, noted):
    (copy / "scripts/audit.sh").write_text(f"#!/bin/sh\nexit {code}\n")
    script = (SCRIPTS.parent / ".ci/run").read_text()
    audit = script[script.index("not_audited=''") : script.index("summary() {")]
    command = ["bash", "-euc", f'{audit}\naudit\necho "[$not_audited]"']
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (ends, noted)
