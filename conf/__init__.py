"""Every value that can be set, its type, and what a configuration means in parts of the kit."""
