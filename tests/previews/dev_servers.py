"""Vite, Next.js and webpack's dev server, at versions of their own, as projects of a few files.

They are installed once for all checkouts, by `python -m tests.previews.dev_servers`, into the
folder that LIMPET_TEST_SERVERS names, or a cache folder. A project gets `node_modules` as hard
links of it. Where they are not there, their tests are skipped and say so.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.previews.wire_server import WIRE_JS

NPM = {
    "next": "16.4.6", "react": "19.3.1", "react-dom": "19.3.1", "vite": "8.4.0",
    "webpack": "5.113.0", "webpack-cli": "7.3.1", "webpack-dev-server": "6.1.0",
}  # fmt: skip
INSTALL = "python -m tests.previews.dev_servers"
_CACHE = Path(os.environ.get("LIMPET_TEST_SERVERS") or "~/.cache/limpet-test-servers").expanduser()
_FOLDER = _CACHE / f"dev-servers-next-{NPM['next']}-vite-{NPM['vite']}-webpack-{NPM['webpack']}"
_READY = _FOLDER / "installed"


@dataclass(frozen=True, slots=True)
class Project:
    """A few files whose page shows what `edited` says, and reloads it in place."""

    script: str
    files: Mapping[str, str]
    edited: str
    """The file that holds the word that the page shows."""
    packages: bool = True
    """Whether it needs the installed ones."""

    def write(self, repo: Path, word: str) -> None:
        """Put the project into a repository, its packages with it."""
        if not _READY.exists():
            raise FileNotFoundError(f"the dev servers are not installed; {INSTALL}")
        manifest = {"name": "shown", "private": True, "scripts": {"dev": self.script}}
        (repo / "package.json").write_text(json.dumps(manifest))
        for name, text in self.files.items():
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            (repo / name).write_text(text)
        self.say(repo, word)
        if self.packages:
            installed_ones = str(_FOLDER / "node_modules")
            subprocess.run(["cp", "-al", installed_ones, str(repo / "node_modules")], check=True)

    def say(self, repo: Path, word: str) -> None:
        """Edit the project so that its page shows `word`, as an editor saves a file."""
        file = repo / self.edited
        fresh = file.with_name(f".{file.name}.saving")
        fresh.write_text(self.files[self.edited].replace("WORD", word))
        fresh.replace(file)


VITE = Project(
    script="vite",
    files={
        "index.html": '<!doctype html><html><body><p id="word"></p><input id="kept">'
        '<script type="module" src="/main.js"></script></body></html>',
        "main.js": "import { word } from './part.js'\n"
        "const show = (w) => { document.getElementById('word').textContent = w }\n"
        "show(word)\n"
        "import.meta.hot.accept('./part.js', (m) => show(m.word))\n"
        "window.__hot = import.meta.hot\n",
        "part.js": "export const word = 'WORD'\n",
    },
    edited="part.js",
)
NEXT = Project(
    script="next dev",
    files={
        "next.config.js": "module.exports = { devIndicators: false }\n",
        "app/layout.js": "export default function Layout({ children }) {\n"
        "  return <html><body>{children}</body></html>\n}\n",
        "app/page.js": "import { Word } from './word'\nimport { sent } from './actions'\n"
        "import { cookies } from 'next/headers'\n"
        "export default async function Page() {\n"
        "  const said = (await cookies()).get('said')?.value ?? 'nothing'\n"
        "  return <main><Word /><input id='kept' />\n"
        "    <form action={sent}><input name='text' id='text' /><button>Send</button></form>\n"
        "    <p id='said'>{said}</p></main>\n}\n",
        "app/actions.js": "'use server'\nimport { cookies } from 'next/headers'\n"
        "import { redirect } from 'next/navigation'\n"
        "export async function sent(form) {\n"
        "  (await cookies()).set('said', String(form.get('text')), { httpOnly: true })\n"
        "  redirect('/?done=1')\n}\n",
        "app/word.js": "'use client'\nexport function Word() { return <p id='word'>WORD</p> }\n",
    },
    edited="app/word.js",
)
NEXT_ON_WEBPACK = replace(NEXT, script="next dev --webpack")
"""Its client is the one that sends a ping every 2.5 s."""
WEBPACK = Project(
    script="webpack serve",
    files={
        "webpack.config.js": "module.exports = { mode: 'development', entry: './main.js',\n"
        "  devServer: { static: './public', port: process.env.PORT, host: '127.0.0.1' } }\n",
        "public/index.html": '<!doctype html><html><body><p id="word"></p><input id="kept">'
        '<script src="/main.js"></script></body></html>',
        "main.js": "const part = require('./part.js')\n"
        "const show = (w) => { document.getElementById('word').textContent = w }\n"
        "show(part.word)\n"
        "module.hot.accept('./part.js', () => show(require('./part.js').word))\n",
        "part.js": "exports.word = 'WORD'\n",
    },
    edited="part.js",
)
API = Project(
    script="node server.js",
    files={
        "server.js": "require('http').createServer((_, r) => {\n"
        "  r.setHeader('content-type', 'application/json').end('{\"word\": \"WORD\"}')\n"
        "}).listen(process.env.PORT, '127.0.0.1')\n",
    },
    edited="server.js",
    packages=False,
)
FAILING = Project(
    script="node server.js",
    files={
        "server.js": "WORD\nrequire('http').createServer((_, r) => {\n"
        "  r.setHeader('content-type', 'text/html').end('<body>It runs now.</body>')\n"
        "}).listen(process.env.PORT, '127.0.0.1')\n",
    },
    edited="server.js",
    packages=False,
)
WIRE = Project("node server.js", {"server.js": WIRE_JS}, edited="server.js", packages=False)
PROJECTS = {
    "vite": VITE,
    "next": NEXT,
    "webpack": WEBPACK,
    "next-on-webpack": NEXT_ON_WEBPACK,
    "api": API,
    "failing": FAILING,
    "wire": WIRE,
}


def installed() -> bool:
    """Whether they can be had, and node to run them."""
    return _READY.exists() and shutil.which("node") is not None


def install() -> None:
    """All of them, unless they are there."""
    if _READY.exists():
        return
    _FOLDER.mkdir(parents=True, exist_ok=True)
    (_FOLDER / "package.json").write_text(json.dumps({"private": True}))
    wanted = [f"{name}@{version}" for name, version in NPM.items()]
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *wanted],
        cwd=_FOLDER,
        check=True,
    )
    _READY.touch()


if __name__ == "__main__":
    install()
