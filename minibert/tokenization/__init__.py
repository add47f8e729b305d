"""Text to ids: WordPiece in plain Python as the definition, and `BertTokenizer`, which gives the same fast."""

from .tokenizer import CHUNK, BertTokenizer
from .wordpiece import WordPieceTokenizer

BertTokenizerFast = BertTokenizer  # the name that transformers has for the one with the Rust engine inside

__all__ = ["CHUNK", "BertTokenizer", "BertTokenizerFast", "WordPieceTokenizer"]
