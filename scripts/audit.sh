#!/bin/sh
# Writes what Python packages the images have, and asks OSV (osv.dev) which of them have known vulnerabilities:
#   scripts/audit.sh [FOLDER] [-- PIP-AUDIT OPTIONS]
# FOLDER, by default sbom/, gets for each of cpu.lock and gpu.lock NAME.cdx.json, an SBOM (CycloneDX 1.6), which needs no
# network, and NAME.vulnerabilities.txt if there are any. The options go to pip-audit, such as --ignore-vuln ID for one
# that does no harm here.
# Exit codes: 0 none is known, 1 some are, 2 a wrong argument or no tools, 3 OSV gave no proper answer: nobody knows.
# PYTHON chooses the interpreter (3.11: the lock is resolved for it).
set -eu
# shellcheck source=scripts/arguments.sh
. "$(dirname "$0")/arguments.sh"
folder=
case ${1:-} in
'' | --) ;;
-*) unknown "$1" ;;
*)
    folder=$(absolute "$1")
    shift
    ;;
esac
[ $# -eq 0 ] || [ "$1" = -- ] || unknown "$1"
[ $# -eq 0 ] || shift
cd "$(dirname "$0")/.."
folder=${folder:-$PWD/sbom}
environment=.venv-audit
stamp=$environment/.installed
if ! { [ -f "$stamp" ] && cmp -s audit.lock "$stamp"; }; then
    python=${PYTHON:-python3.11}
    echo "audit: installing the locked tools into $environment (100 MB)"
    { [ -x "$environment/bin/python" ] || "$python" -m venv "$environment"; } &&
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            -r audit.lock || fail "audit.lock could not be installed"
    cp audit.lock "$stamp"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$folder"

for variant in cpu gpu; do
    PYTHONWARNINGS=ignore "$environment/bin/cyclonedx-py" requirements "$variant.lock" --pyproject pyproject.toml \
        --output-reproducible --output-file "$work/$variant.cdx.json" || fail "$variant.lock: no SBOM could be made"
    rm -f "$folder/$variant.vulnerabilities.txt"
    mv "$work/$variant.cdx.json" "$folder/"
    echo "audit: wrote $folder/$variant.cdx.json"
done

# What is known of the packages of a file, if there is any, is written to another. pip-audit ends with 1 both where it
# found something and where it was not answered, but writes its findings in the first case only.
ask() { # FILE FINDINGS OPTIONS...
    file=$1 findings=$2
    shift 2
    code=0
    "$environment/bin/pip-audit" --requirement "$file" --disable-pip --strict --vulnerability-service osv \
        --progress-spinner off --cache-dir "$work/cache" --output "$findings" "$@" >"$work/log" 2>&1 || code=$?
    if [ "$code" = 0 ] || { [ "$code" = 1 ] && [ -s "$findings" ]; }; then return; fi
    tail -n 1 "$work/log" >&2
    echo "audit: not checked: OSV did not answer what is known of $(basename "$file"); try again where it can be reached" >&2
    exit 3
}
# An answer to everything that says nothing of anything, as a proxy may give, must not pass: of this one much is known.
echo pillow==8.0.0 >"$work/pillow-8.0.0"
ask "$work/pillow-8.0.0" "$work/known" --no-deps "$@"
if [ ! -s "$work/known" ]; then
    echo "audit: not checked: OSV knows nothing of pillow 8.0.0, which has vulnerabilities; is it OSV that answers?" >&2
    exit 3
fi
found=0
for variant in cpu gpu; do
    ask "$variant.lock" "$work/$variant.vulnerabilities.txt" --require-hashes "$@"
    if [ -s "$work/$variant.vulnerabilities.txt" ]; then
        found=1
        echo "audit: $variant.lock has packages with known vulnerabilities:"
        cat "$work/$variant.vulnerabilities.txt"
        mv "$work/$variant.vulnerabilities.txt" "$folder/"
    else
        echo "audit: $variant.lock: none is known"
    fi
done
exit "$found"
