"""vaebench: how much does a VAE's latent code know about the data, and at what likelihood?"""

__version__ = "0.1.0"
