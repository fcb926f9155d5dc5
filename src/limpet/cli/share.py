"""share: who sees an agent's preview."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from limpet.cli.find import connect, find_agent, find_sandbox
from limpet.cli.output import AgentName, Branch, Json, done, out, plain, print_json

if TYPE_CHECKING:
    from limpet.sdk.previews import Link, Sharing

MAX_DAYS = 30


def share(
    agent: AgentName,
    branch: Branch = None,
    private: Annotated[
        bool, typer.Option("--private", help="Only people signed in see it, and those with a link.")
    ] = False,
    link: Annotated[bool, typer.Option("--link", help="Anyone with its address sees it.")] = False,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="DAYS", help="Make a link for so long: 1d, 7d, 30d."),
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="End all links, and put out who came by one.")
    ] = False,
    json: Json = False,
) -> None:
    """Show or change who sees an agent's preview, and make links to a private one.

    Examples: limpet share "My shop" --private --for 7d; limpet share "My shop" --stop
    """
    if private and link:
        raise typer.BadParameter("give --private or --link, not both")
    if link and for_ is not None:
        raise typer.BadParameter("--for makes a link to a private preview; say --private")
    days = _days(for_) if for_ is not None else None
    with connect() as limpet:
        box = find_sandbox(limpet, find_agent(limpet, agent), branch)
        handle, previews = box["handle"], limpet.previews
        if private or link:
            previews.set_access(handle, "private" if private else "link")
        if stop:
            previews.unshare(handle)
        made = previews.share(handle, days=days) if days is not None else None
        sharing = previews.sharing(handle)
    if json:
        print_json({**sharing, "preview_url": box["preview_url"], "link": made})
        return
    _tell(sharing, box["preview_url"], made)
    if stop:
        done("All links have ended.")


def _tell(sharing: "Sharing", address: str | None, made: "Link | None") -> None:
    if made:
        out.print(made["url"], markup=False)
        done(f"Anyone with this link sees it until {_moment(made['until'])}.")
        return
    default = " (the operator's default)" if sharing["is_default"] else ""
    if sharing["access"] == "link":
        said = f"link: anyone with the address sees it{default}"
    elif sharing["links_until"]:
        until = _moment(sharing["links_until"])
        said = f"private: people signed in see it, and those with a link, until {until}{default}"
    else:
        said = f"private: only people signed in see it{default}"
    out.print(plain(said), markup=False)
    if address and sharing["access"] == "link":
        out.print(plain(address), markup=False)


def _days(typed: str) -> int:
    """`7d` or `7`; `typer.BadParameter` for anything that is no number of days."""
    match = re.fullmatch(r"([1-9][0-9]?)d?", typed.strip())
    if match is None or int(match[1]) > MAX_DAYS:
        raise typer.BadParameter(f"{typed!r} is not 1d to {MAX_DAYS}d", param_hint="--for")
    return int(match[1])


def _moment(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")
