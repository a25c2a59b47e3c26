"""Samples of images and sentences: pictures, chains, quality, text."""
