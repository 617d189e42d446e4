"""The losses, each once: value, derivative, conjugate, domain and conic form."""
