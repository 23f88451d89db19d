"""Three kinds of blame: who can fix it decides the class, the exit code and the first word of the failure file."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class JobError(Exception):
    """A job that ends with a sentence instead of a traceback. Raise one of the subclasses.

    Args:
        problems: one sentence, or several that were found together; `str(error)` numbers them.
        listed: how many of them `str(error)` shows.
        rest: what it says of the others.
    """

    exit_code = 1

    def __init__(self, problems: str | Iterable[str], *, listed: int = 200, rest: str = "") -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        self.listed = listed
        self.rest = rest
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.problems)
        if count == 1:
            return self.problems[0]
        lines = [f"{number}. {problem}" for number, problem in enumerate(self.problems[: self.listed], 1)]
        if count > self.listed:
            lines.append(f"... and {count - self.listed} more. {self.rest}".rstrip())
        return "\n".join([f"{count} problems:", *lines])


class AlgorithmError(JobError):
    """A fault of this container (exit code 1): the user can only report it."""

    exit_code = 1


class UserError(JobError):
    """The user can fix it (exit code 2): hyperparameters, channels, data, weights."""

    exit_code = 2


class PlatformError(JobError):
    """The machine or the platform is at fault (exit code 3): disk full, device missing, network gone."""

    exit_code = 3


class ScriptError(JobError):
    """A script of the job's own failed (script mode): its exit code is the job's, and its last words are the cause.

    Args:
        sentence: which script it was, and how it ended.
        exit_code: from 1 to 255.
        cause: what it wrote to stderr about its end, line by line.
        trace: the lines before.
    """

    def __init__(self, sentence: str, exit_code: int, *, cause: Iterable[str] = (), trace: Iterable[str] = ()) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
        self.cause = tuple(cause)
        self.trace = tuple(trace)


@contextmanager
def rewording(change: Callable[[str], str]) -> Iterator[None]:
    """Changes each sentence of a UserError on its way."""
    try:
        yield
    except UserError as error:
        raise UserError([change(problem) for problem in error.problems]) from error


def first_line(error: BaseException) -> str:
    """The cause of an error in one line, for a sentence. TensorFlow's errors go on for many."""
    lines = str(error).strip().splitlines() or ["no message"]
    # Errors of traced functions begin with the trace and end with the cause.
    return lines[-1].strip() if lines[0].startswith("in user code") else lines[0]
