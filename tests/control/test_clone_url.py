from urllib.parse import quote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from limpet.control.clone_url import (
    CloneUrlError,
    Credentials,
    clone_url_of,
    parse_clone_url,
    seal_credentials,
)
from limpet.control.db import AgentRow
from limpet.control.secrets import SecretBox

ACCEPTED = {
    "https://github.com/owner/repo": "https://github.com/owner/repo",
    "https://github.com/owner/repo.git": "https://github.com/owner/repo.git",
    "https://github.com/owner/repo/": "https://github.com/owner/repo",
    "HTTPS://GitHub.com/Owner/Repo": "https://github.com/Owner/Repo",
    "https://github.com:443/owner/repo": "https://github.com/owner/repo",
    "https://github.com:08443/owner/repo": "https://github.com:8443/owner/repo",
    "https://git.example.com:8443/repo": "https://git.example.com:8443/repo",
    "https://localhost:9999/repo.git": "https://localhost:9999/repo.git",
    "https://127.0.0.1:9999/repo.git": "https://127.0.0.1:9999/repo.git",
    "https://[::1]:9999/repo.git": "https://[::1]:9999/repo.git",
    "https://[2001:DB8::0:1]/repo": "https://[2001:db8::1]/repo",
    "https://xn--mnchen-3ya.example/repo": "https://xn--mnchen-3ya.example/repo",
    "https://host/a/b/c/d/e": "https://host/a/b/c/d/e",
    "https://host/~user/repo": "https://host/~user/repo",
    "https://host/my%20project/_git/repo": "https://host/my%20project/_git/repo",
    "https://host/%7euser/%72epo": "https://host/~user/repo",
    "https://host/gr%C3%BC%C3%9Fe": "https://host/gr%C3%BC%C3%9Fe",
    "https://host/...": "https://host/...",
    "https://host/repo@v2": "https://host/repo@v2",
    "https://host/-upload-pack": "https://host/-upload-pack",
}

REFUSED = [
    "", " ", "https", "https:", "https:/", "https://", "https:///", "https:////host/repo",
    "https:foo", "https:host/repo", "https:/host/repo", "https:\\\\host\\repo",
    "http://github.com/owner/repo", "git://github.com/owner/repo", "ftp://host/repo",
    "ssh://git@github.com/owner/repo", "git@github.com:owner/repo.git", "github.com/owner/repo",
    "file:///etc/passwd", "/etc/passwd", "./repo", "..", "-", "--upload-pack=touch /tmp/x",
    "ext::sh -c touch% /tmp/x", "ext::https://host/repo", "https::https://host/repo",
    "fd::17/repo", "javascript:alert(1)", "data:text/html,x", "git+https://host/repo",
    "//host/repo", "HTTPS", "hhttps://host/repo", "https//host/repo", "https;//host/repo",
    "https://host", "https://host/", "https://host//", "https://host//repo",
    "https://host/a//b", "https://host/.", "https://host/..", "https://host/../repo",
    "https://host/a/../b", "https://host/a/./b", "https://host/%2e%2e/b", "https://host/.%2E/b",
    "https://host/%2e", "https://host/a%2fb", "https://host/a%5cb", "https://host/a%00b",
    "https://host/a%0ab", "https://host/a%7fb", "https://host/%", "https://host/%2", "https://host/%zz",
    "https://host/%ff", "https://host/%c3%28",
    "https://host/repo?ref=main", "https://host/repo#main", "https://host?/repo", "https://host#/repo",
    "https://host#@evil.example/repo", "https://host?@evil.example/repo",
    " https://host/repo", "https://host/repo ", "https://host/re po", "https://ho st/repo",
    "\thttps://host/repo", "https://host/repo\n", "https://host/repo\r\nHost: evil", "https://host/\0repo",
    "https://ho\tst/repo", "ht\ntps://host/repo", "https://host/re\x7fpo", "https://host/re\x85po",
    "https://host\\@evil.example/repo", "https://host/a\\b", "https:/\\host/repo",
    "https://user@evil.example@host/repo", "https://user:pa@ss@host/repo", "https://a@b@c/d",
    "https://@host/repo", "https://:@host/repo", "https://user%0a:x@host/repo", "https://u:%0d@host/repo",
    "https://u:%ff@host/repo", "https://@/repo", "https://user:pass@/repo", "https://user:pass@",
    "https://host:/repo", "https://host:0/repo", "https://host:65536/repo", "https://host:-1/repo",
    "https://host:+80/repo", "https://host:8o/repo", "https://host:80:80/repo", "https://host:999999/repo",
    "https://host:٣/repo", "https://:443/repo",
    "https://[::1/repo", "https://::1/repo", "https://[]/repo", "https://[host]/repo", "https://[::1]x/repo",
    "https://[::1]:/repo", "https://[fe80::1%25eth0]/repo", "https://[fe80::1%eth0]/repo", "https://[1.2.3.4]/repo",
    "https://[v1.x]/repo", "https://[[::1]]/repo",
    "https://2130706433/repo", "https://0x7f000001/repo", "https://0x7f.1/repo", "https://127.1/repo",
    "https://0177.0.0.1/repo", "https://256.1.1.1/repo", "https://1.2.3.4.5/repo", "https://127.0.0.1./repo",
    "https://-host/repo", "https://host-/repo", "https://.host/repo", "https://host./repo", "https://a..b/repo",
    "https://ho_st/repo", "https://ho%73t/repo", "https://ho%2fst/repo", "https://*.example/repo",
    "https://münchen.example/repo", "https://g\u0456thub.com/owner/repo", "https://github。com/owner/repo",
    "https://github.com\u2044x/repo", "https://\uff47ithub.com/repo", "https://host/grüße", "https://host/\u202erepo",
    "\ufeffhttps://host/repo", "https://" + "a" * 64 + "/repo", "https://" + "a." * 127 + "a/repo",
    "https://host/" + "a" * 2048, "https://host/<repo>", 'https://host/"repo"', "https://host/`id`",
    "https://host/{a,b}", "https://host/a|b", "https://host/a^b", "https://host/$(id)\n",
]  # fmt: skip


@pytest.mark.parametrize(("text", "public"), ACCEPTED.items())
def test_plain_https_addresses_are_accepted_in_one_form(text: str, public: str) -> None:
    parsed = parse_clone_url(text)
    assert (parsed.public, parsed.credentials) == (public, None)
    assert parse_clone_url(parsed.public) == parsed


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(CloneUrlError) as caught:
        parse_clone_url(text)
    assert len(text) < 9 or text not in caught.value.message


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        ("https://token@host/repo", "token", ""),
        ("https://user:secret@host/repo", "user", "secret"),
        ("https://:secret@host/repo", "", "secret"),
        ("https://user:a:b:c@host/repo", "user", "a:b:c"),
        ("https://us%40er:p%2F%3A%40%20%C3%BC@host/repo", "us@er", "p/:@ ü"),
        ("https://-user:--x@host/repo", "-user", "--x"),
    ],
)
def test_credentials_are_taken_out(text: str, user: str, password: str) -> None:
    parsed = parse_clone_url(text)
    assert parsed.credentials == Credentials(user, password)
    assert parsed.public == "https://host/repo"
    assert parsed.display_name == "host/repo"
    assert repr(parsed) == "CloneUrl(public='https://host/repo', credentials=Credentials())"
    assert parse_clone_url(parsed.authenticated) == parsed


def test_credentials_may_stand_beside_the_url_but_not_twice() -> None:
    parsed = parse_clone_url("https://host/repo", username="u", password="p@ss")
    assert parsed.authenticated == "https://u:p%40ss@host/repo"
    assert parse_clone_url("https://host/repo", password="p").authenticated.startswith(
        "https://:p@"
    )
    with pytest.raises(CloneUrlError, match="beside"):
        parse_clone_url("https://a:b@host/repo", username="u", password="p")
    for user, password in (("", ""), ("a\nb", ""), ("", "a\0b"), ("u" * 3000, "")):
        with pytest.raises(CloneUrlError):
            parse_clone_url("https://host/repo", username=user, password=password)


def test_sealed_credentials_open_for_their_own_org_and_show_nothing() -> None:
    box = SecretBox([bytes(32)])
    url = parse_clone_url("https://me:hunter2@host/repo")
    agent = AgentRow(org_id="a", id="x", clone_url=url.public)
    agent.clone_credentials_sealed = seal_credentials(url.credentials, box, "a")
    assert b"hunter2" not in (agent.clone_credentials_sealed or b"")
    assert clone_url_of(agent, box) == url
    assert seal_credentials(None, box, "a") is None


@given(st.text(max_size=60))
def test_any_text_is_parsed_to_https_or_refused(text: str) -> None:
    for candidate in (text, "https://" + text, "https://host/" + text, f"https://{text}@host/r"):
        try:
            parsed = parse_clone_url(candidate)
        except CloneUrlError:
            continue
        split = urlsplit(parsed.public)
        assert split.scheme == "https"
        assert split.hostname
        assert split.username is None
        assert not split.query
        assert not split.fragment
        assert ".." not in split.path.split("/")
        assert parsed.public.isascii()
        assert parse_clone_url(parsed.authenticated) == parsed


@given(st.text(min_size=1), st.text())
def test_any_printable_credentials_survive_the_url(user: str, password: str) -> None:
    assume(all(ord(c) >= 0x20 and ord(c) != 0x7F for c in user + password))
    assume(not any(0xD800 <= ord(c) < 0xE000 for c in user + password))
    text = f"https://{quote(user, safe='')}:{quote(password, safe='')}@host/repo"
    assume(len(text) < 2000)
    assert parse_clone_url(text).credentials == Credentials(user, password)
