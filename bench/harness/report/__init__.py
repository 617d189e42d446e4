"""Reports: as a page, as Markdown, as pictures."""
