"""What a daemon is told of its work: the config that a runner posts. Pure."""

from limpet.runners.base import EnsureOptions


def config_patch(options: EnsureOptions) -> dict[str, object]:
    """The body of `POST /config`; what is not known is left out, and a start command taken away.

    May hold credentials.
    """
    patch: dict[str, object] = {}
    git = _known(beginBranch=options.begin_branch)
    if options.repo is not None:
        repo = options.repo
        git["repository"] = _known(
            cloneUrl=repo.clone_url, branch=repo.branch, displayName=repo.display_name
        )
        git["identity"] = _known(userName=repo.user_name, userEmail=repo.user_email)
    if git:
        patch["git"] = git
    workload = options.workload
    manager = _known(name=workload.package_manager, path=workload.path)
    application = _known(
        packageManager=manager or None, runtime=workload.runtime, port=workload.dev_port
    )
    # A patch leaves what it does not name: a command that was configured before goes by null alone.
    application["command"] = workload.start_command
    if workload.start_command is not None:
        application["script"] = None  # the two exclude each other
    patch["application"] = application
    if options.env:
        patch["env"] = dict(options.env)
    return patch


def _known(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None and value != ""}
