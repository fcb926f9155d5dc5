import queue
from collections.abc import Iterator

from flask import Flask, Response, jsonify, redirect, render_template_string, request, url_for

app = Flask(__name__)
listeners: set["queue.Queue[str]"] = set()

HOME = """<!doctype html><title>Flask</title>
<body><h1>Hello, limpet</h1>
<a id="address" href="{{ url_for('who', _external=True) }}">Who am I?</a>
<form method="post" action="/sign-in"><input name="name"><button>Sign in</button></form></body>"""


@app.get("/")
def home():
    return render_template_string(HOME)


@app.post("/sign-in")
def sign_in():
    response = redirect(url_for("who", _external=True), 303)
    response.set_cookie("name", request.form["name"], httponly=True, secure=request.is_secure)
    return response


@app.get("/who/")
def who():
    page = '<!doctype html><title>Who</title><body><p id="name">{{ name }}</p></body>'
    return render_template_string(page, name=request.cookies.get("name", "nobody"))


@app.get("/address")
def address():
    return jsonify(url_for("who", _external=True))


@app.get("/events")
def events():
    def told() -> Iterator[str]:
        mine: queue.Queue[str] = queue.Queue()
        listeners.add(mine)
        try:
            yield "data: first\n\n"
            while True:
                yield f"data: {mine.get()}\n\n"
        finally:
            listeners.remove(mine)

    return Response(told(), mimetype="text/event-stream")


@app.post("/events")
def tell():
    for one in list(listeners):
        one.put("second")
    return "", 204
