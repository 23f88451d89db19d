"""Three kinds of blame: who can fix it decides the class, the exit code and the first word of the failure file."""

from collections.abc import Iterable


class JobError(Exception):
    """A job that ends with a sentence instead of a traceback. Raise one of the subclasses.

    Args:
        problems: one sentence, or several that were found together; `str(error)` numbers them.
    """

    exit_code = 1

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        listed = "\n".join(f"{number}. {problem}" for number, problem in enumerate(self.problems, 1))
        return f"{len(self.problems)} problems:\n{listed}"


class AlgorithmError(JobError):
    """A fault of this container (exit code 1): the user can only report it."""

    exit_code = 1


class UserError(JobError):
    """The user can fix it (exit code 2): hyperparameters, channels, data, weights."""

    exit_code = 2


class PlatformError(JobError):
    """The machine or the platform is at fault (exit code 3): disk full, device missing, network gone."""

    exit_code = 3
