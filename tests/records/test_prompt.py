"""The split of prompts into those that are trained on and those that are held out."""

from hypothesis import given
from hypothesis import strategies as st

from rlaif.records import find_held_out, split_of

IDS = st.sets(st.text(min_size=1, max_size=8), max_size=12)


@given(IDS, st.floats(0, 0.99))
def test_a_prompts_part_hangs_on_its_id_alone_and_training_is_never_empty(ids: set[str], fraction: float) -> None:
    held_out = find_held_out(ids, test_fraction=fraction)
    by_id = {one for one in ids if split_of(one, test_fraction=fraction) == "test"}
    assert held_out == by_id or (by_id == ids and len(by_id - held_out) == 1 and held_out < by_id)
    assert not ids or held_out < ids
