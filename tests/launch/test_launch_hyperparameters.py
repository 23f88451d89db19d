import sys

from sagemaker_object_detection.launch.training import read_job


def test_no_depth_of_nesting_ends_in_a_traceback(tmp_path):
    file = tmp_path / "h.json"
    values = {"--hyperparameters-file": str(file), "--image": "given"}
    told = set()
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit() + 1):
        file.write_text('{"epochs": ' + "[" * depth + "]" * depth + "}")
        problems: list[str] = []
        read_job(dict(values), problems)
        told.update(problems)
    assert told <= {
        f"--hyperparameters-file: {file}: epochs is {'[' * 80}...; expected text, a number, true or false",
        f"--hyperparameters-file: {file}: epochs is ...; expected text, a number, true or false",
        f"--hyperparameters-file: {file} is nested too deeply. Correct it there; expected an object such as "
        '{"epochs": 10, "learning_rate": 1e-3}',
    }
