import asyncio
from collections.abc import AsyncIterator
from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

app = FastAPI()
listeners: set[asyncio.Queue[str]] = set()


@app.get("/", response_class=HTMLResponse)
def home(request: Request) -> str:
    return f"""<!doctype html><title>FastAPI</title>
<body><h1>Hello, limpet</h1>
<a id="address" href="{request.url_for("who")}">Who am I?</a>
<form method="post" action="/sign-in"><input name="name"><button>Sign in</button></form></body>"""


@app.post("/sign-in")
async def sign_in(request: Request) -> Response:
    name = parse_qs((await request.body()).decode())["name"][0]
    response = RedirectResponse(request.url_for("who"), 303)
    response.set_cookie("name", name, httponly=True, secure=request.url.scheme == "https")
    return response


@app.get("/who", response_class=HTMLResponse)
def who(request: Request) -> str:
    name = escape(request.cookies.get("name", "nobody"))
    return f'<!doctype html><title>Who</title><body><p id="name">{name}</p></body>'


@app.get("/address")
def address(request: Request) -> str:
    return str(request.url_for("who"))


@app.get("/events")
async def events() -> StreamingResponse:
    async def told() -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        listeners.add(queue)
        try:
            yield "data: first\n\n"
            while True:
                yield f"data: {await queue.get()}\n\n"
        finally:
            listeners.remove(queue)

    return StreamingResponse(told(), media_type="text/event-stream")


@app.post("/events", status_code=204)
async def tell() -> None:
    for queue in listeners:
        queue.put_nowait("second")
