"""Attacks with many inputs: coverage-guided over the codecs, generated over whole trees."""
