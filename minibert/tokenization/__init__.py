"""Text to ids: WordPiece in plain Python as the definition, and `BertTokenizer`, which gives the same fast."""

from .tokenizer import BertTokenizer
from .wordpiece import WordPieceTokenizer

__all__ = ["BertTokenizer", "WordPieceTokenizer"]
