"""What the spelling of an address or a path says by itself, before anybody looks there."""

import re
from urllib.parse import urlsplit

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.sentences import printable

ARCHIVES = (".tar.gz", ".tgz")
"""How the name of an archive ends."""

_HUBS = ("tfhub.dev", "hub.tensorflow.google.cn")
_KAGGLE = ("kaggle.com", "www.kaggle.com")
_KAGGLES_OWN_WORDS = ("models", "frameworks", "tensorflow2", "variations", "versions")
_MAX_PLACE = 4096
_JUMPSTART = re.compile("^(train|infer)-(prepack-)?")
"""What JumpStart puts before the model's id, as in train-tensorflow-od1-ssd-...tar.gz."""
# Up to the last "@" where what follows the first colon is no port: a password may hold any character.
_CREDENTIALS = re.compile(r"(?<=://)(?:[^/?#]*|[^/?#:@\[]*:(?!\d*(?:[/?#]|$)).*)@", re.DOTALL)


def scheme_of(place: str) -> str | None:
    """The scheme of an address in small letters; None for a path."""
    scheme, separator, _ = place.partition("://")
    return scheme.lower() if separator else None


def shown(place: str) -> str:
    """An address or a path as it may be logged: printable, bounded, and without a user name or a password."""
    if len(place) > _MAX_PLACE:  # none that works, and where in it a password ends takes long to find
        return f"{len(place)} characters"
    return printable(_CREDENTIALS.sub("...@", place))


def named_by(place: str) -> BaseModel | None:
    """The base model that a handle, or the name of a folder or an archive, stands for; None for any other place.

    Names are those of the catalogue: the short one, the published archive's and JumpStart's. A handle may be spelled as
    TensorFlow Hub or as Kaggle does, with any version.
    """
    path = place
    if scheme_of(place) in ("http", "https"):
        path = urlsplit(place).path
        if words := _handle_words(place):
            for base in catalogue.CATALOGUE:
                if base.is_published and _handle_words(base.weights.hub_handle) == words:
                    return base
    name = path.rstrip("/").rpartition("/")[2]
    for ending in ARCHIVES:
        name = name.removesuffix(ending)
    for base in catalogue.CATALOGUE:
        published = (base.weights.tarball, base.weights.jumpstart_id) if base.is_published else ()
        if name == base.name or _JUMPSTART.sub("", name) in published:
            return base
    return None


def _handle_words(address: str) -> tuple[str, ...]:
    """Publisher, model and variation; nothing for another host."""
    parts = urlsplit(address)
    words = [word for word in parts.path.lower().replace("_", "-").split("/") if word]
    if parts.hostname in _KAGGLE:
        words = [word for word in words if word not in _KAGGLES_OWN_WORDS]
    elif parts.hostname not in _HUBS:
        return ()
    return tuple(words[:3])
