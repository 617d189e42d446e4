"""How robust a classifier is, whoever trained it: attacks from above, certificates from below, both checked here."""
