import dataclasses
import math
import subprocess
import sys
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_object_detection.catalogue import CATALOGUE, DEFAULT_MODEL
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.kinds import Choice, Flag, Integer, Number, Text
from sagemaker_object_detection.hyperparameters.read import Hyperparameters, read
from sagemaker_object_detection.hyperparameters.table import BBOX_FORMATS, ROWS, Row

UNIT = "a number from 0.0 to 1.0"
COUNT = "a whole number from 1 to 2147483647"
FLAG = "True or False"
AUTO = "Auto, True or False"
SMALL = "ssd_mobilenet_v2_fpnlite_320x320"

# What users rely on by name: (expected, default as shown, default value, text, its value). A new row needs no line.
TABLE = {
    "batch_size": (COUNT, "3", 3, "16", 16),
    "beta_1": (UNIT, "0.9", 0.9, "1e-06", 1e-6),
    "beta_2": (UNIT, "0.999", 0.999, ".5", 0.5),
    "early_stopping": (FLAG, "False", False, "true", True),
    "early_stopping_min_delta": (UNIT, "0.0", 0.0, "0.25", 0.25),
    "early_stopping_patience": (COUNT, "5", 5, "7.0", 7),
    "epochs": (COUNT, "the base model's: 5 for the smaller, 1 for the larger", None, "5", 5),
    "epsilon": (UNIT, "1e-7", 1e-7, "1E-8", 1e-8),
    "initial_accumulator_value": (UNIT, "0.1", 0.1, "1", 1.0),
    "learning_rate": (UNIT, "0.001", 0.001, "0.4630125855085939", 0.4630125855085939),
    "momentum": (UNIT, "0.9", 0.9, "0", 0.0),
    "optimizer": ("one of adam, sgd, nesterov, rmsprop, adagrad, adadelta", "adam", "adam", "SGD", "sgd"),
    "reinitialize_top_layer": (AUTO, "Auto", None, "FALSE", False),
    "rho": (UNIT, "0.95", 0.95, "1.", 1.0),
    "train_only_on_top_layer": (FLAG, "False", False, "True", True),
    "regularizers_l2": (UNIT, "the base model's own", None, "4e-5", 4e-5),
    "model_id": (
        f"a model id, or one of {', '.join(base.name for base in CATALOGUE)}",
        f"{SMALL}, or what the model channel holds",
        None,
        "tensorflow-od1-ssd-mobilenet-v2-fpnlite-320x320-coco17-tpu-8",
        SMALL,
    ),
    "pretrained_weights": (
        "auto, none, a TensorFlow Hub or Kaggle handle (https://...), s3://bucket/key of a .tar.gz or of a folder, or "
        "the path of either",
        "auto",
        "auto",
        "s3://b/W.tar.gz",
        "s3://b/W.tar.gz",
    ),
    "objective": ("one of Auto, mAP, localization_loss, total_loss", "Auto", "Auto", "map", "mAP"),
    "recipe": ("one of Auto, fine-tuning, plain", "Auto", "Auto", "PLAIN", "plain"),
    "learning_rate_schedule": ("one of Auto, constant, cosine, trapezoid", "Auto", "Auto", "cosine", "cosine"),
    "relative_learning_rate": ("Auto or a number from 0.0 to 1.0", "Auto", None, "0.01", 0.01),
    "passes_per_epoch": ("Auto or a whole number from 1 to 2147483647", "Auto", None, "3", 3),
    "augmentation": (FLAG, "True", True, "False", False),
    "freeze_batch_norm": (AUTO, "Auto", None, "true", True),
    "bbox_format": (f"one of Auto, {', '.join(BBOX_FORMATS)}", "Auto", "Auto", "xywh", "xywh"),
    "invalid_boxes": ("one of error, drop, clip", "error", "error", "drop", "drop"),
    "invalid_images": ("one of error, drop", "error", "error", "DROP", "drop"),
    "max_detections": ("Auto or a whole number from 1 to 1000", "Auto", None, "300", 300),
    "validation_split_ratio": ("a number from 0.0 to 0.5", "0.2", 0.2, "0.5", 0.5),
    "mixed_precision": (AUTO, "Auto", None, "True", True),
    "xla": (AUTO, "Auto", None, "True", True),
    "seed": ("a whole number from 0 to 2147483647", "0", 0, "0042", 42),
}
BY_NAME: dict[str, Any] = {row.name: row for row in ROWS}
NUMBERS = [row.name for row in ROWS if isinstance(row.kind, Number | Integer)]
FLOATS = [row.name for row in ROWS if isinstance(row.kind, Number)]
INTEGERS = [row.name for row in ROWS if isinstance(row.kind, Integer)]
WORDS = [row.name for row in ROWS if not isinstance(row.kind, Number | Integer | Text)]
ALIASES = {"eps": "epsilon", "train_only_top_layer": "train_only_on_top_layer"}


def problems(**values):
    with pytest.raises(UserError) as caught:
        read(values)
    return list(caught.value.problems)


def example(row: Row) -> str:
    """A legal text that is not the default where there is another one."""
    match row.kind:
        case Integer(low, _, _):
            return str(low + 1)
        case Number(_, high, _):
            return str(high / 3)
        case Choice(options):
            return options[-1]
        case Flag():
            return "False" if row.default == "True" else "True"
        case Text():
            return "/somewhere"
        case _:
            return CATALOGUE[0].model_id


@pytest.mark.parametrize("name", TABLE)
def test_what_was_published_stays(name):
    expected, shown, default, text, value = TABLE[name]
    row = BY_NAME[name]
    assert (row.kind.expected, row.shown_default, row.default_value) == (expected, shown, default)
    assert row.kind.parse(text) == value


@pytest.mark.parametrize("name", BY_NAME)
def test_the_default_when_left_out_or_none(name):
    for values in ({}, {name: "None"}, {name: "null"}, {name: " null "}):
        value = getattr(read(values), name)
        assert value == BY_NAME[name].default_value
        assert type(value) is type(BY_NAME[name].default_value)


@pytest.mark.parametrize("name", [row.name for row in ROWS if row.default is not None])
def test_the_default_as_it_is_shown_is_the_default(name):
    hyperparameters = read({name: BY_NAME[name].shown_default})
    assert getattr(hyperparameters, name) == BY_NAME[name].default_value
    assert hyperparameters.notes == ()


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("spelling", ["{}", "  {}\n", '"{}"', ' "{}" ', '" {} "'])
def test_a_value_in_every_spelling(name, spelling):
    texts = [example(BY_NAME[name]), *(TABLE[name][3:4] if name in TABLE else ())]
    declared = Hyperparameters.__annotations__[name]
    for text in texts:
        value = getattr(read({name: spelling.format(text)}), name)
        assert value == BY_NAME[name].kind.parse(text)
        assert type(value) in (typing.get_args(declared) or (declared,))


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_is_its_name(alias, name):
    row = BY_NAME[name]
    assert getattr(read({alias: example(row)}), name) == row.kind.parse(example(row))
    assert problems(**{alias: "x"}) == [f"{alias}: got 'x'; expected {row.kind.expected} (default {row.shown_default})"]


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_beside_its_name_is_an_error(alias, name):
    text = example(BY_NAME[name])
    assert problems(**{alias: text, name: text}) == [
        f"{alias}: another name of {name}, which is given too; give only {name}"
    ]
    assert getattr(read({alias: text, name: "None"}), name) == BY_NAME[name].kind.parse(text)


def refused(name, text):
    row = BY_NAME[name]
    assert problems(**{name: text}) == [
        f"{name}: got {text!r}; expected {row.kind.expected} (default {row.shown_default})"
    ]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        '""',
        "fast",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "1_0",
        "0_1",
        "0x1",
        "0b1",
        "1e",
        "e1",
        ".",
        "+",
        "1,0",
        "1 0",
        "1f",
        "True",
        "true",
        "'1'",
        "[1]",
        "\u0661",
        "\u00bd",
        "-1",
        "1e400",
        "-1e400",
        "9" * 30,
        '"1',
        '"\\"1\\""',
        "1e999999999",
    ],
)
def test_what_is_not_a_legal_number_is_refused(name, text):
    refused(name, text)


def test_absurdly_long_digits_are_refused_and_shown_short():
    [problem] = problems(epochs="9" * 100_000)
    assert problem.startswith(f"epochs: got '{'9' * 80}...'; expected {COUNT} (default ")


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("text", ["5.5", "1e-05", "2147483648", "2147483647.5", "-0.5"])
def test_what_is_not_a_whole_number_is_refused(name, text):
    refused(name, text)


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("5.0", 5), ("+5", 5), ("5e1", 50), ("2147483647", 2**31 - 1), ("1.", 1)]
)
def test_whole_numbers_in_every_spelling(text, value):
    assert read({"epochs": text}).epochs == value


@pytest.mark.parametrize("name", FLOATS)
def test_the_ends_of_a_range_are_legal_and_beyond_is_not(name):
    low, high = BY_NAME[name].kind.low, BY_NAME[name].kind.high
    assert (getattr(read({name: str(low)}), name), getattr(read({name: str(high)}), name)) == (low, high)
    refused(name, repr(math.nextafter(high, math.inf)))
    refused(name, repr(math.nextafter(low, -math.inf)))


def test_minus_zero_is_zero():
    assert str(read({"learning_rate": "-0.0"}).learning_rate) == "0.0"


@pytest.mark.parametrize("name", INTEGERS)
def test_the_least_whole_number(name):
    least = BY_NAME[name].kind.low
    assert getattr(read({name: str(least)}), name) == least
    refused(name, str(least - 1))


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("text", ["", "1", "0", "yes", "no", "on", "x", "T", "adam,sgd", "['adam']"])
def test_what_is_not_one_of_the_words_is_refused(name, text):
    refused(name, text)


@pytest.mark.parametrize("text", ["True", "true", "TRUE", "tRuE", '"true"'])
def test_true_in_any_case(text):
    assert read({"early_stopping": text}).early_stopping is True


@pytest.mark.parametrize("text", ["Auto", "auto", "AUTO"])
def test_auto_in_any_case_but_only_where_there_is_one(text):
    assert read({"freeze_batch_norm": text}).freeze_batch_norm is None
    refused("augmentation", text)


@pytest.mark.parametrize("base", CATALOGUE)
def test_every_model_by_id_and_by_short_name(base):
    assert read({"model_id": base.model_id}).model_id == read({"model_id": base.name}).model_id == base.name


def test_pretrained_weights_keep_their_case_but_for_the_words():
    assert read({"pretrained_weights": "NONE"}).pretrained_weights == "none"
    assert read({"pretrained_weights": "/W/None"}).pretrained_weights == "/W/None"
    refused("pretrained_weights", "")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("epsilom", "epsilom: unknown; did you mean epsilon?"),
        ("batch-size", "'batch-size': unknown; did you mean batch_size?"),
        ("Learning_Rate", "Learning_Rate: unknown; did you mean learning_rate?"),
        ("train_only_top_layers", "train_only_top_layers: unknown; did you mean train_only_on_top_layer?"),
        ("mini_batch_size", "mini_batch_size: unknown; did you mean batch_size?"),
        ("zzz", "zzz: unknown; remove it; `describe` lists every hyperparameter"),
        ("", "'': unknown; remove it; `describe` lists every hyperparameter"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion_even_without_value(name, sentence):
    assert problems(**{name: "1"}) == [sentence]
    assert problems(**{name: "None"}) == [sentence]


def test_every_problem_at_once_in_the_order_of_the_table():
    assert problems(zzz="1", learning_rate="fast", batch_size="5.5", epsilom="1") == [
        "batch_size: got '5.5'; expected a whole number from 1 to 2147483647 (default 3)",
        "learning_rate: got 'fast'; expected a number from 0.0 to 1.0 (default 0.001)",
        "zzz: unknown; remove it; `describe` lists every hyperparameter",
        "epsilom: unknown; did you mean epsilon?",
    ]


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ({}, []),
        ({"beta_1": "0.9", "optimizer": "sgd"}, []),
        ({"beta_1": "0.8"}, []),
        (
            {"beta_1": "0.8", "optimizer": "sgd"},
            ["beta_1: has no effect, because optimizer is sgd; it is used when optimizer is adam"],
        ),
        (
            {"rho": "0.5", "momentum": "0.5"},
            [
                "momentum: has no effect, because optimizer is adam; it is used when optimizer is sgd or nesterov",
                "rho: has no effect, because optimizer is adam; it is used when optimizer is adadelta or rmsprop",
            ],
        ),
        (
            {"eps": "0.1", "optimizer": "nesterov"},
            [
                "epsilon: has no effect, because optimizer is nesterov; "
                "it is used when optimizer is adam or rmsprop or adadelta or adagrad"
            ],
        ),
        (
            {"early_stopping_patience": "2"},
            [
                "early_stopping_patience: has no effect, because early_stopping is False; "
                "it is used when early_stopping is True"
            ],
        ),
        ({"early_stopping_patience": "2", "early_stopping": "True"}, []),
        (
            {"train_only_on_top_layer": "True", "freeze_batch_norm": "False"},
            [
                "freeze_batch_norm: has no effect, because train_only_on_top_layer is True; "
                "it is used when train_only_on_top_layer is False"
            ],
        ),
    ],
)
def test_values_without_effect_are_noted(values, notes):
    assert list(read(values).notes) == notes


def test_a_model_channel_comes_before_pretrained_weights():
    values = {"pretrained_weights": "none"}
    assert read(values).notes == ()
    assert read(values, has_model_channel=True).notes == (
        "pretrained_weights: has no effect, because the model channel brings the weights",
    )
    assert read({"pretrained_weights": "auto"}, has_model_channel=True).notes == ()


def test_values_are_shown_as_a_person_would_write_them():
    resolved = read({"optimizer": "SGD", "early_stopping": "true", "mixed_precision": "false"}).resolved()
    defaults = {row.name: row.default_value for row in ROWS}
    defaults |= {row.name: "Auto" for row in ROWS if row.default == "Auto"}
    assert resolved == defaults | {"optimizer": "sgd", "early_stopping": True, "mixed_precision": False}


def test_values_without_effect_are_not_among_the_effective_ones():
    given = read({"optimizer": "rmsprop", "train_only_on_top_layer": "True"})
    unused = {"beta_1", "beta_2", "initial_accumulator_value", "momentum", "freeze_batch_norm", "xla"}
    unused |= {"relative_learning_rate"}
    unused |= {"early_stopping_min_delta", "early_stopping_patience"}
    assert given.effective().items() <= given.resolved().items()
    assert (given.resolved().keys() - given.effective().keys()) & TABLE.keys() == unused


def test_what_was_left_to_the_base_model_is_filled_in():
    base = dataclasses.replace(DEFAULT_MODEL, name="other", default_epochs=9)
    assert (read({}).for_model(base).model_id, read({}).for_model(base).epochs) == ("other", 9)
    assert read({"epochs": "4", "seed": "2"}).for_model(base) == dataclasses.replace(
        read({"seed": "2"}), model_id="other", epochs=4
    )


SCRAPS = st.text() | st.from_regex(r"\s*\"?[-+]?[0-9_.]*([eE][-+]?[0-9]{0,4})?\"?\s*")


@given(values=st.dictionaries(st.sampled_from([*BY_NAME, *ALIASES]) | st.text(), SCRAPS))
def test_any_text_becomes_a_value_or_a_sentence(values):
    hyperparameters = None
    sentences: tuple[str, ...] = ()
    try:
        hyperparameters = read(values)
    except UserError as error:
        sentences = error.problems
    assert all(sentence.isprintable() for sentence in sentences)
    for row in ROWS if hyperparameters else ():
        value = getattr(hyperparameters, row.name)
        if isinstance(row.kind, Number | Integer) and value is not None:
            assert row.kind.low <= value <= row.kind.high


@given(st.floats(0, 1))
def test_every_float_python_writes_is_read_exactly(value):
    assert read({"learning_rate": str(value)}).learning_rate == value


def test_nothing_heavy_is_imported():
    code = (
        "import sys, sagemaker_object_detection.job.config, sagemaker_object_detection.describe, "
        "sagemaker_object_detection.hyperparameters.read;"
        "print(sorted({'numpy', 'tensorflow', 'keras', 'PIL', 'msgspec', 'boto3'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
