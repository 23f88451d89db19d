"""Makes channels of labelling jobs' manifests, in S3: S3 itself copies the images, and annotations.json comes last.

A channel's folder is named for its content. So the same labels lead to the same folder, in which nothing is copied
twice, and a folder that some job reads does not change. One without annotations.json is no data set to any job.

The images' headers and pixels stay in S3, and are checked by the job.
"""

import hashlib
import io
import posixpath
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_object_detection.errors import UserError, rewording
from sagemaker_object_detection.job.channels import CHANNELS
from sagemaker_object_detection.launch import api, aws
from sagemaker_object_detection.launch.addresses import is_bucket, is_manifest, split
from sagemaker_object_detection.sentences import as_json, is_printable, shown

_MAX_BYTES = 256 * 2**20
"""Of a manifest, which is read as a whole: some 300,000 images."""
_MAX_KEY = 1024
_AT_ONCE = 10
"""Copies: as many connections as a client of boto3 keeps."""
_BATCH = 1000
"""Images between two lines that say how far it is, and until a missing one ends the copying."""


@dataclass(frozen=True)
class _Channel:
    """What a manifest comes to.

    folder: its address. annotations: the content of annotations.json. images: the address of each by its path below
    images/. places: where the manifest lists each, for sentences. summary: for people, in several lines.
    """

    folder: str
    annotations: bytes
    images: Mapping[str, str]
    places: Mapping[str, str]
    summary: str


def given_manifests(values: Mapping[str, Any]) -> dict[str, str]:
    """The addresses of manifests that were given in place of folders, by channel."""
    names = [row.name for row in CHANNELS if row.name != "model"]
    return {name: values[f"--{name}"] for name in names if is_manifest(values.get(f"--{name}", ""))}


def folder_of_channels(values: Mapping[str, Any]) -> str:
    """Where channels are made."""
    folder = values.get("--channel-folder") or f"{values.get('--output', '').rstrip('/')}/channels"
    return f"{folder.rstrip('/')}/"


def make_channels(clients: aws.Aws, values: Mapping[str, Any], request: api.Request) -> None:
    """Puts a channel's folder into the place of each manifest in a request; makes those that are not there yet.

    Raises:
        UserError: with every problem of every manifest, before anything is copied; or S3 refuses what is needed.
        PlatformError: S3 cannot be reached.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of classes that the terminal has no letters for
    definition = request.get("TrainingJobDefinition", request)
    hyperparameters = definition.get("HyperParameters", definition.get("StaticHyperParameters", {}))
    drop = hyperparameters.get("invalid_boxes") == "drop"
    channels: dict[str, _Channel] = {}
    problems: list[str] = []
    for name, address in given_manifests(values).items():
        try:
            channels[name] = _read(
                clients.s3, address, values.get("--label-attribute", ()), folder_of_channels(values), drop=drop
            )
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    for channel in {channel.folder: channel for channel in channels.values()}.values():
        _make(clients.s3, channel)
    for entry in definition["InputDataConfig"]:
        if entry["ChannelName"] in channels:
            entry["DataSource"]["S3DataSource"]["S3Uri"] = channels[entry["ChannelName"]].folder


def _read(s3: Any, address: str, attributes: Sequence[str], base: str, *, drop: bool) -> _Channel:
    """Reads a manifest, and checks it as the converter does.

    Raises:
        UserError: every problem of it in one list.
    """
    try:  # here, because everything else needs boto3 alone
        import msgspec

        from sagemaker_object_detection.convert.convert import checked_document, summary
        from sagemaker_object_detection.convert.foreign import ForeignDataSet, InvalidError, decoded
        from sagemaker_object_detection.convert.ground_truth import GROUND_TRUTH, NOTATION, read_lines
        from sagemaker_object_detection.dataset.ground_truth import numbered_lines
    except ImportError as error:
        raise UserError(
            f"{address}: reading a manifest needs numpy, msgspec and Pillow beside boto3, and {error.name} is missing; "
            "install them, or run scripts/setup.sh and its .venv/bin/python"
        ) from error

    data = ForeignDataSet(GROUND_TRUTH, NOTATION)
    images: dict[str, str] = {}
    places: dict[str, str] = {}

    def find_image(place: str, image: str) -> tuple[str, Path | None]:
        bucket, key = split(image)
        if not is_bucket(bucket):
            fault = f"source-ref is {as_json(image)}; expected s3://bucket/key, with a name that a bucket can have"
            raise InvalidError("unreadable lines", f"{place}: {fault}. Correct it there.")
        if not is_printable(key) or len(key) > _MAX_KEY or posixpath.isabs(key) or ".." in key.split("/"):
            fault = f"{shown(key)} is no path below a folder of images; copy the object to a plain key, and name that"
            raise InvalidError("refused file names", f"{place}: {fault}.")
        name = posixpath.normpath(key)
        if images.get(name, image) != image:  # another bucket has an image of the same key
            name = f"{bucket}/{name}"
        if name in images:
            earlier = f"{image} is the image of {places[name]} already"
            raise InvalidError("images that are listed twice", f"{place}: {earlier}. Merge the two, or remove one.")
        images[name], places[name] = image, place
        return name, None

    content = _content(s3, address)
    with data.collecting():
        read_lines(data, address, numbered_lines(address, decoded(address, content)), attributes, find_image)
    with rewording(_in_our_words):
        document = checked_document(data, drop=drop)
    annotations = msgspec.json.encode(document)
    name = hashlib.sha256(annotations + "\n".join(images.values()).encode()).hexdigest()[:16]
    folder = f"{base}ground-truth-{name}/"
    return _Channel(folder, annotations, images, places, _in_our_words(summary(folder, document, data.notes)))


def _in_our_words(text: str) -> str:
    """What the converter says, with the hyperparameter in place of its argument."""
    return text.replace("--invalid-boxes drop", "invalid_boxes=drop")


def _content(s3: Any, address: str) -> bytes:
    bucket, key = split(address)
    with _blaming(address):
        answer = s3.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] <= _MAX_BYTES:
            return bytes(answer["Body"].read())
    raise UserError(
        f"{address}: has {answer['ContentLength']} bytes; expected at most {_MAX_BYTES}: fetch it and its images, and "
        "use scripts/convert_dataset.py"
    )


def _make(s3: Any, channel: _Channel) -> None:
    """Copies what is missing, and says what is done and what it costs."""
    bucket, prefix = split(channel.folder)
    present = _sizes(s3, channel.folder)
    missing = [name for name in channel.images if f"images/{name}" not in present]
    is_whole = "annotations.json" in present and not missing
    _say(channel.summary)
    if is_whole:
        _say(
            f"{channel.folder} is there already, and nothing is copied. If images have changed since then, delete the "
            "folder and start again"
        )
        return
    _say(
        f"S3 copies {len(missing)} images to {channel.folder}. It bills {len(missing)} copy requests, and the storage "
        "until you delete the folder"
    )
    _copy_all(s3, channel, missing)
    with _blaming(channel.folder):
        s3.put_object(
            Bucket=bucket, Key=f"{prefix}annotations.json", Body=channel.annotations, ContentType="application/json"
        )
    stored = sum(_sizes(s3, channel.folder).values())
    _say(f"{channel.folder} is complete: {stored / 1e6:.1f} MB")


def _copy_all(s3: Any, channel: _Channel, names: Sequence[str]) -> None:
    bucket, prefix = split(channel.folder)

    def copy(name: str) -> ClientError | None:
        """The error, if there is no such image; every other is raised."""
        source_bucket, source_key = split(channel.images[name])
        try:
            with _blaming(f"{channel.places[name]}: {channel.images[name]}", spared=("NoSuchKey",)):
                # Tags stay behind: reading them takes another permission.
                s3.copy_object(
                    Bucket=bucket,
                    Key=f"{prefix}images/{name}",
                    CopySource={"Bucket": source_bucket, "Key": source_key},
                    TaggingDirective="REPLACE",
                )
        except ClientError as error:
            return error
        return None

    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            absent = [name for name, error in zip(batch, pool.map(copy, batch), strict=True) if error is not None]
            if absent:
                _say(f"{channel.folder} is not complete, and no job takes it so. The next start goes on where it is")
                raise UserError(
                    f"{channel.places[name]}: there is no object {channel.images[name]}. Upload it, or remove the line."
                    for name in absent
                )
            if len(names) > _BATCH:
                _say(f"{start + len(batch)} of {len(names)} images are copied")
    finally:
        pool.shutdown(cancel_futures=True)


def _sizes(s3: Any, folder: str) -> dict[str, int]:
    """Bytes of each object in a folder, by its path there."""
    bucket, prefix = split(folder)
    sizes: dict[str, int] = {}
    with _blaming(folder):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            sizes |= {found["Key"].removeprefix(prefix): found["Size"] for found in page.get("Contents", ())}
    return sizes


@contextmanager
def _blaming(subject: str, spared: Sequence[str] = ()) -> Iterator[None]:
    """What S3 says, as a sentence about the subject, but for errors of these codes."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in spared:
            raise
        raise aws.blame(error, subject) from error


def _say(text: str) -> None:
    print(text, flush=True)
