# Clarabel is an extension module without types; checkers would take it for an empty one.
from typing import Any

def __getattr__(name: str) -> Any: ...
