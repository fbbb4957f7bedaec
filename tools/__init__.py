"""Commands other than run.py that connect what a configuration means with the packages."""
