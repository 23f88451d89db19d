"""A labelling job's manifest in S3 becomes a channel there, before the job is started."""

import json
import re
import sys

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from launch_programs import IMAGE, REQUIRED, Sent, no_connection
from moto import mock_aws
from written_sets import Picture, expected, manifest_line, read_back

from sagemaker_object_detection.launch import aws, manifests
from sagemaker_object_detection.launch.training import TRAINING
from sagemaker_object_detection.launch.tuning import TUNING

PICTURES = (
    Picture("a.jpg", 64, 48, ((0, 1, 2, 20, 30),)),
    Picture("sub/b c.jpg", 64, 48, ((1, 5, 40, 60, 44), (0, 1, 2, 20, 30))),
    Picture("c.jpg", 64, 48),
)
MANIFEST = "s3://labels/cells/manifests/output/output.manifest"
BASE = "s3://bucket/models/channels/"
ARGUMENTS = [*REQUIRED, "--training", MANIFEST]


@pytest.fixture
def sent(monkeypatch):
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield Sent.through(monkeypatch)


@pytest.fixture
def s3(sent, tmp_path):
    """Two buckets: images and a manifest in `labels`, and nothing in `bucket`."""
    client = boto3.client("s3", region_name="us-east-1")
    for name in ("labels", "bucket"):
        client.create_bucket(Bucket=name)
    for picture in PICTURES:
        picture.save(tmp_path / "pictures")
        key = f"some/prefix/{picture.name}"
        client.upload_file(str(tmp_path / "pictures" / picture.name), "labels", key)
    put(client, [line(picture) for picture in PICTURES])
    return client


def line(picture, bucket="labels", **options):
    return manifest_line(picture, **options) | {"source-ref": f"s3://{bucket}/some/prefix/{picture.name}"}


def put(s3, lines, address=MANIFEST):
    bucket, key = address.removeprefix("s3://").split("/", 1)
    s3.put_object(Bucket=bucket, Key=key, Body="".join(f"{json.dumps(entry)}\n" for entry in lines).encode())


def keys(s3, prefix="", bucket="bucket"):
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())]


def fetched(s3, address, folder):
    """A folder of S3 on this machine."""
    bucket, prefix = address.removeprefix("s3://").split("/", 1)
    for key in keys(s3, prefix, bucket):
        path = folder / key.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(path))
    return folder


def addresses(request):
    definition = request.get("TrainingJobDefinition", request)
    return {row["ChannelName"]: row["DataSource"]["S3DataSource"]["S3Uri"] for row in definition["InputDataConfig"]}


def refused(capsys, *arguments, exit_code=2):
    assert TRAINING.main([*arguments]) == exit_code
    said = capsys.readouterr()
    lines = [text for text in said.err.splitlines() if not text.startswith("note: ")]
    return [re.sub(r"^\d+\. |^\w+Error: ", "", text) for text in (lines[1:] or lines)], said.out.splitlines()


def names_below_images(folder):
    """What `read_back` finds, without the folders of the key."""
    return {name.removeprefix("some/prefix/"): rest for name, rest in read_back(folder).items()}


def test_a_job_is_started_with_a_folder_that_training_takes(s3, sent, tmp_path, capsys):
    arguments = [*ARGUMENTS, "--job-name", "cells", "--hyperparameters", "epochs=1"]
    assert TRAINING.main(arguments) == 0
    ((operation, request),) = sent.requests
    folder = addresses(request)["training"]
    assert (operation, folder[:-17]) == ("CreateTrainingJob", f"{BASE}ground-truth-")
    assert names_below_images(fetched(s3, folder, tmp_path / "channel")) == expected(PICTURES)
    size = sum(found["Size"] for found in s3.list_objects_v2(Bucket="bucket")["Contents"])
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}: 3 images, 3 boxes",
        "classes: cat (id 0) 2, dog (id 1) 1",
        "images without boxes: 1",
        f"S3 copies 3 images to {folder}. It bills 3 copy requests, and the storage until you delete the folder",
        f"{folder} is complete: {size / 1e6:.1f} MB",
        "started training job cells in us-east-1",
    ]


def test_images_never_come_here_and_the_annotations_are_written_last(s3, sent):
    assert TRAINING.main(ARGUMENTS) == 0
    assert [path for operation, path in sent.to_s3 if operation == "GetObject"] == [
        "/cells/manifests/output/output.manifest"
    ]
    writes = [(operation, path) for operation, path in sent.to_s3 if operation in ("CopyObject", "PutObject")]
    assert [operation for operation, _ in writes] == ["CopyObject"] * 3 + ["PutObject"]
    assert writes[-1][1].endswith("/annotations.json")


def test_the_same_labels_are_made_into_a_channel_once(s3, sent, capsys):
    assert TRAINING.main([*ARGUMENTS, "--job-name", "first"]) == 0
    del sent.to_s3[:]
    assert TUNING.main([*ARGUMENTS, "--job-name", "second", "--tune", "learning_rate"]) == 0
    (_, first), (_, second) = sent.requests
    assert addresses(first) == addresses(second)
    assert {operation for operation, _ in sent.to_s3} == {"GetObject", "ListObjectsV2"}
    folder = addresses(first)["training"]
    assert (
        f"{folder} is there already, and nothing is copied. If images have changed since then, delete the folder and "
        "start again"
    ) in capsys.readouterr().out.splitlines()


def test_other_labels_are_made_into_another_folder(s3, sent):
    assert TRAINING.main([*ARGUMENTS, "--job-name", "first"]) == 0
    before = keys(s3)
    put(s3, [line(picture) for picture in PICTURES[:2]])
    assert TRAINING.main([*ARGUMENTS, "--job-name", "second"]) == 0
    folders = [addresses(request)["training"] for _, request in sent.requests]
    assert len(set(folders)) == 2
    assert set(before) < set(keys(s3))


def test_two_channels_and_a_folder_of_ones_own(s3, sent, capsys):
    put(s3, [line(PICTURES[0], attribute="seen")], "s3://labels/other.jsonl")
    arguments = ["--validation", "s3://labels/other.jsonl", "--channel-folder", "s3://bucket/made"]
    assert TRAINING.main([*ARGUMENTS, *arguments, "--label-attribute", "cells", "seen"]) == 0
    ((_, request),) = sent.requests
    found = addresses(request)
    assert all(address.startswith("s3://bucket/made/ground-truth-") for address in found.values())
    assert len(set(found.values())) == 2
    assert "label attributes that s3://labels/other.jsonl does not have ('cells'): 1" in capsys.readouterr().out


def test_an_interrupted_start_leaves_no_data_set_and_the_next_goes_on(s3, sent, capsys):
    s3.delete_object(Bucket="labels", Key="some/prefix/sub/b c.jpg")
    problems, said = refused(capsys, *ARGUMENTS)
    assert problems == [
        f"{MANIFEST} line 2: there is no object s3://labels/some/prefix/sub/b c.jpg. Upload it, or remove the line."
    ]
    assert said[-1].endswith("/ is not complete, and no job takes it so. The next start goes on where it is")
    assert sent.requests == []
    assert len(keys(s3)) == 2
    assert not any(key.endswith("annotations.json") for key in keys(s3))
    s3.put_object(Bucket="labels", Key="some/prefix/sub/b c.jpg", Body=b"image")
    del sent.to_s3[:]
    assert TRAINING.main(ARGUMENTS) == 0
    assert [operation for operation, _ in sent.to_s3].count("CopyObject") == 1
    assert len(keys(s3)) == 4


def test_how_far_the_copying_is_is_told(s3, monkeypatch, capsys):
    monkeypatch.setattr(manifests, "_BATCH", 2)
    assert TRAINING.main(ARGUMENTS) == 0
    said = capsys.readouterr().out.splitlines()
    assert "2 of 3 images are copied" in said
    assert "3 of 3 images are copied" in said


def test_every_mistake_of_every_manifest_is_told_before_anything_is_copied(s3, sent, capsys):
    wrong = [line(picture) for picture in PICTURES]
    wrong[0]["cells"]["annotations"][0]["width"] = -3
    wrong[1]["source-ref"] = wrong[2]["source-ref"] = "s3://labels/some/prefix/a.jpg"
    put(s3, wrong)
    other = [line(PICTURES[0]) for _ in range(6)]
    for entry, address in zip(
        other,
        (
            "s3://my_bucket/a.jpg",
            "s3://labels/../a.jpg",
            "s3://labels/a\n.jpg",
            "s3://labels/",
            "s3://arn:aws:s3/a.jpg",
            f"s3://labels/{'a' * 1025}",
        ),
        strict=True,
    ):
        entry["source-ref"] = address
    put(s3, other, "s3://labels/other.manifest")
    problems, _ = refused(capsys, *ARGUMENTS, "--validation", "s3://labels/other.manifest")
    again = f"s3://labels/some/prefix/a.jpg is the image of {MANIFEST} line 1 already. Merge the two, or remove one."
    path = "is no path below a folder of images; copy the object to a plain key, and name that."
    place = "s3://labels/other.manifest line"
    assert problems == [
        f"{MANIFEST} line 2: {again}",
        f"{MANIFEST} line 3: {again}",
        f"{MANIFEST} line 1 annotations[0], image 'some/prefix/a.jpg': the box left 1, top 2, width -3, height 28 has "
        "a negative width or height; expected a width and a height above 0, in pixels, inside the image. Correct it, "
        "or leave such boxes out with invalid_boxes=drop.",
        f'{place} 4: source-ref is "s3://labels/"; expected s3://bucket/key. Correct it there.',
        f'{place} 1: source-ref is "s3://my_bucket/a.jpg"; expected s3://bucket/key, with a name that a bucket can '
        "have. Correct it there.",
        f"{place} 2: '../a.jpg' {path}",
        f"{place} 3: 'a\\n.jpg' {path}",
        f'{place} 5: source-ref is "s3://arn:aws:s3/a.jpg"; expected s3://bucket/key, with a name that a bucket can '
        "have. Correct it there.",
        f"{place} 6: '{'a' * 80}...' {path}",
    ]
    assert sent.requests == []
    assert keys(s3) == []


def test_invalid_boxes_are_left_out_where_the_job_would_leave_them_out(s3, sent, tmp_path, capsys):
    wrong = [line(picture) for picture in PICTURES]
    wrong[0]["cells"]["annotations"][0]["width"] = 0
    put(s3, wrong)
    assert TRAINING.main([*ARGUMENTS, "--hyperparameters", "invalid_boxes=DROP"]) == 0
    assert "left out, as invalid_boxes=drop asks (empty boxes 1): 1" in capsys.readouterr().out.splitlines()
    found = read_back(fetched(s3, addresses(sent.requests[0][1])["training"], tmp_path / "channel"))
    assert found["some/prefix/a.jpg"] == (64, 48, [])


def test_images_of_one_key_in_two_buckets_are_two(s3, sent, tmp_path):
    s3.create_bucket(Bucket="second")
    s3.upload_file(str(tmp_path / "pictures/a.jpg"), "second", "some/prefix/a.jpg")
    put(s3, [line(PICTURES[0]), line(PICTURES[0], bucket="second")])
    assert TRAINING.main(ARGUMENTS) == 0
    found = read_back(fetched(s3, addresses(sent.requests[0][1])["training"], tmp_path / "channel"))
    assert list(found) == ["some/prefix/a.jpg", "second/some/prefix/a.jpg"]


@pytest.mark.parametrize(
    ("code", "status", "exit_code", "told"),
    [
        (
            "AccessDenied",
            403,
            2,
            "CopyObject was refused (AccessDenied: No); allow your identity s3:GetObject on the image, and "
            "s3:PutObject where it is copied to",
        ),
        ("InvalidObjectState", 403, 2, "CopyObject was refused (InvalidObjectState: No); check the arguments and"),
        ("SlowDown", 503, 3, "AWS cannot be reached or is busy ("),
    ],
)
def test_what_s3_refuses_to_copy_is_told_and_leaves_no_data_set(
    s3, sent, monkeypatch, capsys, code, status, exit_code, told
):
    def deny(model, **_):
        answer = {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, model.name)

    fail_calls(monkeypatch, "CopyObject", deny)
    (problem,), _ = refused(capsys, *ARGUMENTS, exit_code=exit_code)
    assert told in problem
    assert exit_code == 3 or problem.startswith(f"{MANIFEST} line ")
    assert keys(s3) == []
    assert sent.requests == []


def fail_calls(monkeypatch, operation, raising):
    """Programs that run from here on fail in this call of S3."""
    connect = aws.connect

    def connected(*arguments):
        clients = connect(*arguments)
        clients.s3.meta.events.register(f"before-call.s3.{operation}", raising)
        return clients

    monkeypatch.setattr(aws, "connect", connected)


def test_a_connection_that_breaks_leaves_no_data_set(s3, sent, monkeypatch, capsys):
    def time_out(**_):
        raise ConnectTimeoutError(endpoint_url="https://s3")

    fail_calls(monkeypatch, "PutObject", time_out)
    (problem,), _ = refused(capsys, *ARGUMENTS, exit_code=3)
    assert problem.startswith("AWS cannot be reached or is busy (Connect timeout on endpoint URL")
    assert len(keys(s3)) == 3
    assert not any(key.endswith("annotations.json") for key in keys(s3))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (
            "s3://labels/none.manifest",
            "GetObject was refused (NoSuchKey: The specified key does not exist); correct the",
        ),
        (
            "s3://nowhere/x.manifest",
            "GetObject was refused (NoSuchBucket: The specified bucket does not exist); correct",
        ),
    ],
)
def test_a_manifest_that_is_not_there_is_told(s3, capsys, address, told):
    (problem,), _ = refused(capsys, *REQUIRED, "--training", address)
    assert problem.startswith(f"{address}: {told}")


def test_a_manifest_of_any_size_or_content_is_read_within_bounds(s3, monkeypatch, capsys):
    s3.put_object(Bucket="labels", Key="x.manifest", Body=b"\xff\xfe{}")
    assert refused(capsys, *REQUIRED, "--training", "s3://labels/x.manifest") == (
        ["s3://labels/x.manifest: is not UTF-8 (byte 1). Save it as UTF-8 text."],
        [],
    )
    monkeypatch.setattr(manifests, "_MAX_BYTES", 3)
    assert refused(capsys, *REQUIRED, "--training", "s3://labels/x.manifest") == (
        [
            "s3://labels/x.manifest: has 4 bytes; expected at most 3: fetch it and its images, and use "
            "scripts/convert_dataset.py"
        ],
        [],
    )


def test_without_the_packages_that_check_data_the_way_out_is_told(s3, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "msgspec", None)
    (problem,), _ = refused(capsys, *ARGUMENTS)
    assert problem == (
        f"{MANIFEST}: reading a manifest needs numpy, msgspec and Pillow beside boto3, and msgspec is missing; install "
        "them, or run scripts/setup.sh and its .venv/bin/python"
    )


def test_a_dry_run_makes_no_call(monkeypatch, capsys):
    no_connection(monkeypatch)
    assert TRAINING.main([*ARGUMENTS, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert addresses(json.loads(said.out)) == {"training": MANIFEST}
    assert said.err == (
        f"note: --training: {MANIFEST} is a manifest; a folder below {BASE} is made of it first, and stands in its "
        "place in the request that is sent\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--training", "s3://bucket/data/", "--label-attribute", "cells"],
            "--label-attribute: got ['cells'], and no channel is a manifest; give one as --training, such as "
            "s3://bucket/job/manifests/output/output.manifest, or leave it out",
        ),
        (
            ["--training", MANIFEST, "--hyperparameters", "bbox_format=xywh"],
            "bbox_format: got xywh, and --training is a manifest, of which xyxy is made: leave it out",
        ),
        (
            ["--training", "s3://labels/cells/manifests/output/"],
            "--training: got 's3://labels/cells/manifests/output/'; expected the manifest in it, "
            "s3://labels/cells/manifests/output/output.manifest: it is no folder of a data set",
        ),
        (
            ["--training", "s3://my_bucket/x.manifest"],
            "--training: got 's3://my_bucket/x.manifest'; expected an address such as s3://bucket/folder/, whose "
            "bucket is named with 3 to 63 lowercase letters, digits, hyphens and single dots, or is the ARN of an "
            "access point",
        ),
    ],
)
def test_contradictions_are_told_before_any_call(monkeypatch, capsys, arguments, problem):
    no_connection(monkeypatch)
    assert refused(capsys, "--image", IMAGE, *REQUIRED[2:4], *REQUIRED[6:], *arguments) == ([problem], [])
