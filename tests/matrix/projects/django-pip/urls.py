from django.http import HttpResponse
from django.urls import path


def home(request):
    return HttpResponse("<!doctype html><title>Django</title><h1>Hello, limpet</h1>")


urlpatterns = [path("", home)]
