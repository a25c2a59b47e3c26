"""`python -m vaebench` is `python -m vaebench.train`."""

from vaebench.train import main

if __name__ == "__main__":
    main()
