from flask import Flask

app = Flask(__name__)


@app.get("/")
def home():
    return "<!doctype html><title>Flask</title><h1>Hello, limpet</h1>"
