"""Hyperparameters from a command line and a file, as the text that SageMaker passes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.strict_json import JsonError
from sagemaker_object_detection.sentences import shown


def read_hyperparameters(values: Mapping[str, Any], problems: list[str]) -> dict[str, str]:
    """Text by name, as SageMaker passes hyperparameters on; what is null is not given. Their values are not checked
    here."""
    file = values.get("--hyperparameters-file")
    given = {**(_read_file(file, problems) if file is not None else {}), **values.get("--hyperparameters", {})}
    return {name: str(value) for name, value in given.items() if value is not None}


def _read_file(path: str, problems: list[str]) -> dict[str, Any]:
    place = f"--hyperparameters-file: {path}"
    expected = 'expected an object such as {"epochs": 10, "learning_rate": 1e-3}'
    try:
        # Numbers stay the text they were written in.
        value = strict_json.parse(Path(path).read_bytes(), numbers_as_text=True)
        text = shown(value)  # here, since it may be nested too deeply for this and not for the parser
    except OSError as error:
        problem = f"{place} cannot be read ({error.strerror}); {expected.replace('an object', 'a file')}"
    except RecursionError:
        problem = f"{place} is nested too deeply. Correct it there; {expected}"
    except JsonError as error:
        problem = f"{place} {error}. {error.advice}; {expected}"
    else:
        if isinstance(value, dict):
            nested = [name for name, member in value.items() if isinstance(member, dict | list)]
            problems += [
                f"{place}: {name} is {shown(value[name])}; expected text, a number, true or false" for name in nested
            ]
            return {name: member for name, member in value.items() if name not in nested}
        problem = f"{place} holds {text}; {expected}"
    problems.append(problem)
    return {}
