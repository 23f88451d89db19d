"""What the launch programs have in common: arguments become a request, which is checked, and printed or sent."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.guard import run_guarded
from sagemaker_object_detection.launch import api, aws
from sagemaker_object_detection.launch.arguments import Argument, Groups, add_argument, read

_FLAG = re.compile(r"--[a-z-]+[a-z]")


def program_parser(
    description: str, groups: Groups, prints: str
) -> tuple[argparse.ArgumentParser, argparse._ArgumentGroup]:
    """What takes the arguments of a program, by title, and the group of those that all have. prints: with --dry-run."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    for title, rows in groups:
        group = parser.add_argument_group(title)
        for row in rows:
            add_argument(group, row)
    group = parser.add_argument_group("program")
    group.add_argument("--region", help="the AWS region (default: that of the profile or the environment)")
    group.add_argument("--profile", help="a profile of the AWS configuration files")
    group.add_argument("--dry-run", action="store_true", help=f"print {prints} as JSON and make no call")
    return parser, group


@dataclass(frozen=True)
class Program:
    """One program.

    groups: its arguments, by title. operation: the API's name of its call. name: the member of the request that names
    what is made. complete: takes the values of the arguments by flag, a request that has them where they belong, and
    the list of problems, to which it adds; it completes the request, and returns notes about what may surprise. done:
    what is said of a call that went well, with {name}, {region} and members of the answer. prepare: is handed the
    clients, the values and the request, and does at AWS what has to be done before the call. follow: prints what
    becomes of the job, and returns the exit code. wait: the help of --wait.
    """

    description: str
    groups: Groups
    operation: str
    name: str
    complete: Callable[[dict[str, Any], api.Request, list[str]], list[str]]
    done: str
    prepare: Callable[[aws.Aws, Mapping[str, Any], api.Request], None] | None = None
    follow: Callable[[aws.Aws, str], int] | None = None
    wait: str = ""

    @property
    def rows(self) -> tuple[Argument, ...]:
        return tuple(row for _, rows in self.groups for row in rows)

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Runs the program. Returns its exit code: what `follow` returns, or 0; 2 the user can fix it, 3 the platform's
        fault, 130 Ctrl-C."""
        options = self.parser().parse_args(arguments)
        return run_guarded(lambda: self._run(options))

    def request(self, options: argparse.Namespace) -> tuple[dict[str, Any], api.Request, list[str]]:
        """What argparse has made of the arguments: values by flag, the request, and notes.

        Raises:
            UserError: with everything that is wrong with the arguments.
        """
        problems: list[str] = []
        values = read(self.rows, options, problems)
        placed = [row for row in self.rows if row.path]
        request: api.Request = {}
        for row in placed:
            if row.flag in values:
                *parents, name = row.path.split(".")
                structure = request
                for parent in parents:
                    structure = structure.setdefault(parent, {})
                structure[name] = values[row.flag]
        notes = self.complete(values, request, problems)
        told = {flag[0] for problem in problems if (flag := _FLAG.match(problem))}
        unnamed: list[str] = []
        for path, sentence in api.problems(request, self.operation, {row.path: row.kind.expected for row in placed}):
            to_blame = next((row.flag for row in placed if f"{path}.".startswith(f"{row.path}.")), None)
            if to_blame is None:
                unnamed.append(f"{path}: {sentence}")
            elif to_blame not in told:
                problems.append(f"{to_blame}: {sentence}")
        # What no argument is to blame for follows from what another one lacks, or else it is worth telling.
        if problems or unnamed:
            raise UserError(dict.fromkeys(problems or unnamed))
        return values, request, notes

    def _run(self, options: argparse.Namespace) -> int:
        values, request, notes = self.request(options)
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        if options.dry_run:
            print(json.dumps(request, indent=2))
            return 0
        try:
            clients = aws.connect(options.region, options.profile)
            if self.prepare:
                self.prepare(clients, values, request)
            answer = getattr(clients.sagemaker, xform_name(self.operation))(**request)
        except (BotoCoreError, ClientError) as error:
            raise aws.blame(error) from error
        name = request[self.name]
        print(self.done.format(name=name, region=clients.region, **answer), flush=True)
        return self.follow(clients, name) if self.follow and options.wait else 0

    def parser(self) -> argparse.ArgumentParser:
        """Takes every argument as text: `request` tells every mistake, and not only the first."""
        parser, group = program_parser(self.description, self.groups, "the request")
        if self.wait:
            group.add_argument("--wait", action="store_true", help=self.wait)
        return parser
