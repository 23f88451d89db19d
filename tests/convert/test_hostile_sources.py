"""Damaged sources of every format end in sentences, or are converted; never in a traceback or in half a data set."""

import random

import pytest
from written_sets import PROGRAM, WRITERS, Picture

pytestmark = pytest.mark.slow
PICTURES = (Picture("a.jpg", 64, 48, ((0, 16, 12, 32, 24), (1, 0, 0, 64, 48))), Picture("b.jpg", 64, 48))
IMAGES = (".jpg", ".png")
TOKENS = (
    *(b"NaN", b"1e999", b"-1", b"null", b"[]", b"{}", b'""', b"true", b"0.5", b"9" * 5000, b"[" * 1100, b"<a>"),
    *(b"\xff", b"\0", b"\n", b"\r", b",", b";", b'"', b"\xe2\x80\xa8", b"/", b"../", b"data:,", b"rotation", b" "),
)
ROUNDS = 60


def damage(rng, content):
    """Some bytes are replaced by tokens, by others of the file, or left out."""
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(content) + 1), rng.choice((0, 1, 1, 3, 20))
        start = rng.randrange(len(content) + 1)
        piece = rng.choice((*TOKENS, content[start : start + rng.randint(1, 40)], b""))
        content = content[:place] + piece + content[place + length :]
    return content


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_sources_end_in_sentences(name, tmp_path, capsys):
    arguments = WRITERS[name](tmp_path / "source", PICTURES)
    texts = [each for each in sorted((tmp_path / "source").rglob("*.*")) if each.suffix not in IMAGES]
    original = {path: path.read_bytes() for path in texts}
    codes = set()
    for seed in range(ROUNDS):
        rng = random.Random(f"{name} {seed}")
        path = rng.choice(texts)
        path.write_bytes(damage(rng, original[path]))
        target = tmp_path / f"new{seed}"
        options = ["--to", str(target), "--polygons", "enclosing", "--invalid-boxes", rng.choice(("drop", "error"))]
        code = PROGRAM.main([*arguments, *options])
        said = capsys.readouterr().err
        assert code in (0, 2), f"seed {seed}: {said}"
        assert target.exists() == (code == 0)
        assert "Traceback" not in said
        codes.add(code)
        path.write_bytes(original[path])
    assert 2 in codes
