"""What people and other programs use: the command line, and later the client of the HTTP API."""
