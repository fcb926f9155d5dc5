from flask import Flask
from words import TEXT

app = Flask(__name__)


@app.get("/")
def home():
    return f"<!doctype html><title>uv</title><h1>{TEXT}</h1>"
