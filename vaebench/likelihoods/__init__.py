"""p(x|z): what a decoder's output means, and which data it fits."""
