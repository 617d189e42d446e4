"""What MkDocs calls while it builds the site; what it does is in `sitetools`."""

from sitetools.building import on_config, on_files, on_page_markdown

__all__ = ["on_config", "on_files", "on_page_markdown"]
