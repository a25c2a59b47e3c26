"""Models: encoder, posterior, prior, decoder and likelihood under the contract of `vaebench.model`."""
