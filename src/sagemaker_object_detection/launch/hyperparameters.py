"""Hyperparameters from a command line and a file, as the text that SageMaker passes on."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.launch.api import shown
from sagemaker_object_detection.launch.arguments import read_pairs


def read_hyperparameters(options: argparse.Namespace, problems: list[str]) -> dict[str, str]:
    """Text by name, as SageMaker passes hyperparameters on. Their values are not checked here."""
    given = dict(_read_file(options.hyperparameters_file, problems)) if options.hyperparameters_file else {}
    expected = "a hyperparameter as NAME=VALUE, such as epochs=10"
    given |= read_pairs("--hyperparameters", options.hyperparameters, expected, problems)
    return {name: text for name, value in given.items() if (text := rendered(value)) is not None}


def rendered(value: Any) -> str | None:
    """A JSON value as SageMaker's text; None, which means "not given", stays None."""
    if isinstance(value, bool):
        return str(value)
    return None if value is None else str(value)


def _read_file(path: Path, problems: list[str]) -> Mapping[str, Any]:
    place = f"--hyperparameters-file: {path}"
    expected = 'expected an object such as {"epochs": 10, "learning_rate": 1e-3}'
    try:
        # Numbers stay the text they were written in.
        value = strict_json.parse(path.read_bytes(), numbers_as_text=True)
        text = shown(value)  # here, since it may be nested too deeply for this and not for the parser
    except OSError as error:
        problem = f"{place} cannot be read ({error.strerror}); {expected.replace('an object', 'a file')}"
    except RecursionError:
        problem = f"{place} is nested too deeply. Correct it there; {expected}"
    except JsonError as error:
        problem = f"{place} {error}. {error.advice}; {expected}"
    else:
        if isinstance(value, dict):
            return _without_nested(value, place, problems)
        problem = f"{place} holds {text}; {expected}"
    problems.append(problem)
    return {}


def _without_nested(value: dict[str, Any], place: str, problems: list[str]) -> dict[str, Any]:
    nested = [name for name, member in value.items() if isinstance(member, dict | list)]
    problems += [f"{place}: {name} is {shown(value[name])}; expected text, a number, true or false" for name in nested]
    return {name: member for name, member in value.items() if name not in nested}
