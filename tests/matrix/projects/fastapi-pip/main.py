from fastapi import FastAPI
from fastapi.responses import HTMLResponse

app = FastAPI()


@app.get("/", response_class=HTMLResponse)
def home() -> str:
    return "<!doctype html><title>FastAPI</title><h1>Hello, limpet</h1>"
