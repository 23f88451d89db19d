import pytest

from sagemaker_object_detection.launch.addresses import (
    container_folder_fault,
    data_fault,
    folder_fault,
    image_fault,
    is_manifest,
    model_fault,
    split,
)

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
EXPECTED_IMAGE = (
    "expected the address of an image in ECR, such as "
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-object-detection:gpu"
)
ADVICE = "scripts/push_image.sh pushes one and prints its address"
EXPECTED_BUCKET = (
    "whose bucket is named with 3 to 63 lowercase letters, digits, hyphens and single dots, or is the ARN of an access "
    "point"
)


@pytest.mark.parametrize(
    "image",
    [
        f"{ECR}/detector",
        f"{ECR}/detector:1",
        f"{ECR}/team/cell_detector.v2--a:TAG",
        f"{ECR}:443/detector:1",
        f"{ECR}/detector@sha256:{'0' * 64}",
        f"{ECR}/detector:1@sha256:{'0' * 64}",
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/detector",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/detector:1",
        "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov/detector:1",
        "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov/detector:1",
        "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk/detector:1",
        "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu/detector:1",
        "123456789012.dkr-ecr.eu-west-1.on.aws/detector:1",
        "vpce-0a1b-2c3d.dkr.ecr.eu-west-1.vpce.amazonaws.com/detector:1",
        "registry.example.com/team/detector:1",
        "registry.example.com:5000/detector@sha512:" + "0" * 128,
        "dkr.example.com/detector",
        "registry/detector:1",
    ],
)
def test_what_may_be_an_image_is_taken(image):
    assert image_fault(image) == ""


@pytest.mark.parametrize(
    "image",
    [
        "",
        "foo bar",
        "123.dkr...",
        "123.dkr.../detector:1",
        f" {ECR}/detector",
        f"{ECR}/detector:1\n",
        f"{ECR}/Detector:1",
        f"{ECR}/NAME:TAG",
        f"{ECR}/detector:",
        f"{ECR}/detector:a:b",
        f"{ECR}//detector",
        f"{ECR}/",
        f"{ECR}/detector@sha256:abc",
        f"{ECR}/detector@sha256:{'0' * 63}",
        f"https://{ECR}/detector:1",
        "<account>.dkr.ecr.<region>.amazonaws.com/detector:1",
        "${ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/detector:1",
        "{account}.dkr.ecr.eu-west-1.amazonaws.com/detector:1",
    ],
)
def test_what_no_engine_reads_as_an_image_is_refused(image):
    assert image_fault(image) == f"{EXPECTED_IMAGE}; {ADVICE}"


@pytest.mark.parametrize("image", ["sagemaker-object-detection:gpu", "detector", ECR])
def test_an_image_of_this_machine_is_refused(image):
    assert image_fault(image) == (
        f"{EXPECTED_IMAGE}: SageMaker sees no image of this machine, but a name in a registry; {ADVICE}"
    )


@pytest.mark.parametrize(
    "registry",
    [
        "ACCOUNT.dkr.ecr.REGION.amazonaws.com",
        "ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.REGION.amazonaws.com",
        "123456789012.dkr.ecr.region.amazonaws.com",
        "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
        "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1",
        "123456789012.dkr.ecr.eu-west-1.amazonaws",
        "123456789012.dkr.ecr.amazonaws.com",
        "123456789012.dkr.ecr",
    ],
)
def test_half_a_name_in_ecr_and_a_placeholder_in_it_are_refused(registry):
    assert image_fault(f"{registry}/detector:1") == (
        f"{EXPECTED_IMAGE}: a registry in ECR has an account's 12 digits, a region and a domain; {ADVICE}"
    )


def test_a_name_that_is_too_long_is_left_to_the_apis_description():
    assert image_fault("A" * 100_000) == ""


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket",
        "s3://bucket/",
        "s3://abc/data",
        "s3://my.bucket-1/Data_Of/2024..1/",
        f"s3://{'a' * 63}/data",
        "s3://cells--use1-az4--x-s3/data/",
        "s3://cells-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias/data/",
        "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/cells/data/",
        "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/cells",
        "s3://arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:cells/data",
        "s3://arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap/data/",
        "s3://arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01ac5d28a6a232904/accesspoint/cells/data",
        "s3://arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/cells/data",
    ],
)
def test_what_may_be_a_folder_in_s3_is_taken(address):
    assert folder_fault(address) == model_fault(address) == ""


@pytest.mark.parametrize("address", ["", "bucket/data", "https://bucket/data", "s3:/bucket", "s3://", "s3:///data"])
def test_what_is_no_s3_address_is_refused(address):
    assert folder_fault(address) == "expected an address such as s3://bucket/folder/"
    assert model_fault(address) == "expected an address such as s3://bucket/folder/ or s3://bucket/model.tar.gz"


@pytest.mark.parametrize(
    "bucket",
    [
        "My-Bucket",
        "BUCKET",
        "my_bucket",
        "ab",
        "a" * 64,
        "my..bucket",
        "-bucket",
        "bucket-",
        ".bucket",
        "bucket.",
        "192.168.5.4",
        "<bucket>",
        "büc",
        "arn:aws:s3:::bucket",
        "arn:aws:s3:us-west-2:1234:accesspoint",
        "s3:",
    ],
)
def test_a_bucket_that_cannot_be_one_is_refused(bucket):
    folder = f"expected an address such as s3://bucket/folder/, {EXPECTED_BUCKET}"
    archive = f"expected an address such as s3://bucket/folder/ or s3://bucket/model.tar.gz, {EXPECTED_BUCKET}"
    assert folder_fault(f"s3://{bucket}/data") == folder
    assert model_fault(f"s3://{bucket}/data") == archive


def test_an_archive_is_a_model_and_no_folder():
    assert model_fault("s3://bucket/model.tar.gz") == ""
    assert folder_fault("s3://bucket/data.tar.gz") == "expected the address of a folder, not an archive"


@pytest.mark.parametrize("path", ["/opt/ml/checkpoints", "/opt/ml/checkpoints/", "/opt/ml/a/b"])
def test_a_folder_below_the_platforms_is_taken(path):
    assert container_folder_fault(path) == ""


@pytest.mark.parametrize(
    "path",
    ["", "checkpoints", "./checkpoints", "/opt/ml", "/opt/ml/", "/opt/mlx", "/checkpoints", "/opt/ml/../x", "opt/ml/x"],
)
def test_a_folder_that_is_not_below_the_platforms_is_refused(path):
    assert container_folder_fault(path) == (
        "expected the absolute path of a folder below /opt/ml, such as /opt/ml/checkpoints"
    )


ACCESS_POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/cells"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("s3://bucket/some/key.jpg", ("bucket", "some/key.jpg")),
        ("s3://bucket/a key/", ("bucket", "a key/")),
        (f"s3://{ACCESS_POINT}/data/a.jpg", (ACCESS_POINT, "data/a.jpg")),
        (f"s3://{ACCESS_POINT}/accesspoint/x", (ACCESS_POINT, "accesspoint/x")),
    ],
)
def test_an_address_has_a_bucket_or_an_access_point_and_a_key(address, parts):
    assert split(address) == parts


@pytest.mark.parametrize("address", ["s3://bucket/output.manifest", "s3://bucket/a/B.MANIFEST", "s3://bucket/a.jsonl"])
def test_what_is_a_manifest_is_one_and_may_be_data(address):
    assert is_manifest(address)
    assert data_fault(address) == ""


@pytest.mark.parametrize("address", ["s3://bucket/output.manifest/", "s3://bucket/manifest", "s3://bucket/a.json"])
def test_what_does_not_end_as_a_manifest_is_a_folder(address):
    assert not is_manifest(address)
    assert data_fault(address) == ""
