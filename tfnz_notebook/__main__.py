"""``python -m tfnz_notebook``: doctor, clean, kernel."""

from __future__ import annotations

import argparse
import sys

from tfnz_notebook import __version__


def main(arguments: list[str] | None = None) -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tfnz_notebook",
        description="Containers and live processes in Jupyter notebooks: what is here, and how "
        "to be rid of it. Agents have a command of their own: tfnz-agent.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command")

    doctor = commands.add_parser("doctor", help="what was found, and what to do about the rest")
    doctor.add_argument("--json", action="store_true", help="the same for programs")

    clean = commands.add_parser("clean", help="remove containers, agents, outputs: all of ours")
    clean.add_argument(
        "cluster",
        nargs="*",
        help="as Location names it, kubernetes://CONTEXT/NAMESPACE: there, too; those that an "
        "agent runs for are known",
    )
    clean.add_argument("--volumes", action="store_true", help="volumes, too, with their data")
    clean.add_argument("--yes", action="store_true", help="without asking")
    clean.add_argument("--dry-run", action="store_true", help="only say what there is")

    namespaces = commands.add_parser("namespaces", help="of the cluster of a context, for Tab")
    namespaces.add_argument("where", help="as Location names it, kubernetes://CONTEXT")

    kernel = commands.add_parser("kernel", help="kernels in containers, for Jupyter's launcher")
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["kernel"]:  # docker run's flags, and Jupyter to load
        from tfnz_notebook.kernels import launcher

        launcher.grow(kernel)

    args = parser.parse_args(arguments)
    if args.command == "doctor":
        from tfnz_notebook._doctor import findings, look

        found = look.doctor()
        print(findings.as_json(found) if args.json else findings.as_text(found))
        return int(any(each.state == "bad" for each in found))
    if args.command == "clean":
        from tfnz_notebook._doctor import clean as cleaning

        return cleaning.main(args.cluster, volumes=args.volumes, yes=args.yes, dry_run=args.dry_run)
    if args.command == "namespaces":
        from tfnz_notebook._doctor import cluster

        print("\n".join(cluster.namespaces(args.where)))
        return 0
    if args.command == "kernel":
        from tfnz_notebook.errors import TfnzError
        from tfnz_notebook.kernels import launcher

        try:
            print(launcher.main(args))
        except TfnzError as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
