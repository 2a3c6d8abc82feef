import pytest

from lipsync_jax.errors import OptionError
from lipsync_jax.faces.speaker import Speaker, parse_speaker


def test_forms():
    assert parse_speaker("largest") == Speaker()
    assert parse_speaker("left") == Speaker(rank=0)
    assert parse_speaker("right") == Speaker(rank=-1)
    assert parse_speaker("3") == Speaker(rank=3)
    assert parse_speaker("640, 360.5") == Speaker(point=(640, 360.5))


@pytest.mark.parametrize("text", ["", "-1", "big", "1,2,3", "1;2", "nan,3", "inf,0"])
def test_anything_else_is_an_error_that_names_the_forms(text):
    with pytest.raises(OptionError, match=r"largest, left, right, an index"):
        parse_speaker(text)


@pytest.mark.parametrize("text", ["largest", "left", "right", "0", "5,5"])
def test_nobody_in_sight(text):
    assert parse_speaker(text).choose([]) is None
