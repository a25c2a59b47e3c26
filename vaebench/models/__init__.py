"""Encoder, posterior, prior, decoder and likelihood joined under one protocol."""
