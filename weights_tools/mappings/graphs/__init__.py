"""Networks that a container states as operations -> our parameters; names mean nothing here."""
