"""The words and the text tower of mini-clip."""

import pytest
import torch

from taba_utils.fashion import BACKDROPS, CLASSES, COLOURS, describe
from taba_utils.models.dit import article
from taba_utils.models.mini_clip import CONTEXT_LENGTH, build_mini_clip, encode_text, hidden_states, tokenize


def test_every_caption_has_tokens_of_its_own():
    captions = [
        describe(g, c, b)
        for g in range(len(CLASSES))
        for c in range(len(COLOURS))
        for b in range(len(BACKDROPS))
    ]
    captions += [article(name) for name in CLASSES] + [""]
    tokens = tokenize(captions)
    assert tokens.shape == (len(captions), CONTEXT_LENGTH)
    assert len({tuple(row) for row in tokens.tolist()}) == len(captions)
    assert tokens.max() < build_mini_clip().vocab_size


def test_articles_read_as_english():
    assert [article(name) for name in ("sneaker", "ankle boot", "trousers")] == [
        "a sneaker", "an ankle boot", "trousers",
    ]  # fmt: skip


def test_a_word_that_no_caption_has_is_refused():
    with pytest.raises(ValueError, match=r"all of a, an, on, backdrop, t-shirt.*got 'a red hat'"):
        tokenize(["a red hat"])
    with pytest.raises(ValueError, match="a prompt must have at most 10 words"):
        tokenize(["a " * 11])


def test_the_pooled_hidden_state_is_open_clips_text_embedding():
    model = build_mini_clip().eval()
    tokens = tokenize(["a red sneaker on a grey backdrop", "trousers"])
    states = hidden_states(model, tokens)
    pooled = states[torch.arange(2), tokens.argmax(dim=1)] @ model.text_projection
    torch.testing.assert_close(pooled, model.encode_text(tokens))
    torch.testing.assert_close(encode_text(model, ["trousers"]), states[1:])
