"""What links without a title are called: by the title of the page that they lead to, read once behind their making."""

from app.titles.asking import KIND, Asking, TitleJob
from app.titles.html import title_of
from app.titles.reading import TitleReader, make_page_reader

__all__ = ["KIND", "Asking", "TitleJob", "TitleReader", "make_page_reader", "title_of"]
