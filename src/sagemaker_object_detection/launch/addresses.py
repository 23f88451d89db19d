"""What can be no image, no S3 address and no folder of the container, whoever is asked.

The API's own patterns for these take almost any text, and the service tells the mistake minutes later or not at all.
Only what is sure to be wrong is refused here. A function returns what completes "got ...; ", and "" where there is no
fault.
"""

import re
from pathlib import PurePosixPath

from sagemaker_object_detection.job.paths import PLATFORM_ROOT
from sagemaker_object_detection.weights.naming import ARCHIVES

IMAGE = (
    "the address of an image in ECR, such as "
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-object-detection:gpu"
)
FOLDER = "an address such as s3://bucket/folder/"
_MAX_IMAGE = 255

# The grammar of the engine that pulls the image (github.com/distribution/reference), less names without a registry: the
# API takes registry/repository[:tag] and registry/repository[@digest].
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = rf"(?:{_HOST}(?:\.{_HOST})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"(?:sha256:[0-9a-f]{64}|(?!sha256:)[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,})"
_NAME = rf"{_PART}(?:/{_PART})*(?::{_TAG})?(?:@{_DIGEST})?"
_ANY_IMAGE = re.compile(rf"(?P<registry>{_REGISTRY})/{_NAME}")
_IMAGE_OF_NO_REGISTRY = re.compile(rf"{_PART}(?::{_TAG})?(?:@{_DIGEST})?")
# Any domain: every partition has one of its own. A VPC endpoint's name stands where else the account does.
_MEANT_FOR_ECR = re.compile(r"(?!vpce-)[^.]*\.dkr\.ecr(-fips)?(\..*)?", re.IGNORECASE)
_ECR = re.compile(r"[0-9]{12}\.dkr\.ecr(-fips)?\.[a-z]+(-[a-z]+)+-[0-9]+(\.[a-z0-9-]+){2,}")

# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, but for what is reserved there: the aliases of
# access points, and directory buckets, are written as buckets are.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+){3}")
_ACCESS_POINT = re.compile(
    r"arn:aws[a-z-]*:s3[a-z-]*:[a-z0-9-]*:[0-9]{12}:(outpost[/:][a-z0-9-]+[/:])?accesspoint[/:][a-z0-9.-]+(/.*)?"
)


MANIFESTS = (".manifest", ".jsonl")
"""How the address of a labelling job's manifest ends."""


def is_manifest(address: str) -> bool:
    return address.lower().endswith(MANIFESTS)


def split(address: str) -> tuple[str, str]:
    """Bucket, or the ARN of an access point, and key of an address in S3."""
    place = address.removeprefix("s3://")
    if _ACCESS_POINT.fullmatch(place):
        access_point = re.match(r".*?accesspoint[/:][a-z0-9.-]+", place)
        assert access_point is not None  # of which there is one in the whole
        return access_point[0], place[access_point.end() + 1 :]
    bucket, _, key = place.partition("/")
    return bucket, key


def is_bucket(name: str) -> bool:
    """Whether this can be the name of a bucket, or is the ARN of an access point."""
    if _ACCESS_POINT.fullmatch(name):
        return True
    return bool(_BUCKET.fullmatch(name)) and ".." not in name and not _NUMBERS.fullmatch(name)


def image_fault(text: str) -> str:
    """Of a training image. Tags and digests, every partition's ECR and private registries are right."""
    if len(text) > _MAX_IMAGE:
        return ""  # the API's description tells it
    advice = "scripts/push_image.sh pushes one and prints its address"
    if _IMAGE_OF_NO_REGISTRY.fullmatch(text):
        return f"expected {IMAGE}: SageMaker sees no image of this machine, but a name in a registry; {advice}"
    image = _ANY_IMAGE.fullmatch(text)
    if image is None:
        return f"expected {IMAGE}; {advice}"
    registry = image["registry"].split(":")[0]
    if _MEANT_FOR_ECR.fullmatch(registry) and not _ECR.fullmatch(registry):
        return f"expected {IMAGE}: a registry in ECR has an account's 12 digits, a region and a domain; {advice}"
    return ""


def folder_fault(text: str) -> str:
    """Of an S3 address that has to be a folder's."""
    if fault := _s3_fault(text, FOLDER):
        return fault
    return "expected the address of a folder, not an archive" if text.endswith(ARCHIVES) else ""


def data_fault(text: str) -> str:
    """Of an S3 address of a data set: a folder, or the manifest of a labelling job."""
    if text.rstrip("/").endswith("/manifests/output"):
        return f"expected the manifest in it, {text.rstrip('/')}/output.manifest: it is no folder of a data set"
    return folder_fault(text)


def model_fault(text: str) -> str:
    """Of an S3 address of a model: a folder or an archive."""
    return _s3_fault(text, f"{FOLDER} or s3://bucket/model.tar.gz")


def container_folder_fault(text: str) -> str:
    """Of a folder that SageMaker keeps in step with S3."""
    path = PurePosixPath(text)
    if PurePosixPath(PLATFORM_ROOT) in path.parents and ".." not in path.parts:
        return ""
    return f"expected the absolute path of a folder below {PLATFORM_ROOT}, such as {PLATFORM_ROOT}/checkpoints"


def _s3_fault(text: str, expected: str) -> str:
    bucket, _ = split(text)
    if not text.startswith("s3://") or not bucket or any(letter.isspace() for letter in text):
        return f"expected {expected}"
    if is_bucket(bucket):
        return ""
    return (
        f"expected {expected}, whose bucket is named with 3 to 63 lowercase letters, digits, hyphens and single dots, "
        "or is the ARN of an access point"
    )
