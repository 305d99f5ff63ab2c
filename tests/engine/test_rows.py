"""Rows on their way: whoever takes them in pieces ends with what the whole would have given."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gsr_app.engine import rows
from gsr_app.engine.rows import PlaneSink, ResizeSink
from gsr_app.engine.timing import Stopwatch
from gsr_app.ops.resize import Resampling

CPU = torch.device("cpu")


@given(
    source=st.tuples(st.integers(1, 40), st.integers(1, 12)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 20)),
    piece=st.integers(1, 45),
    strip=st.integers(1, 300),
)
@settings(max_examples=150, deadline=None)
def test_a_resize_of_rows_as_they_come_equals_that_of_the_whole(
    source: tuple[int, int], size: tuple[int, int], piece: int, strip: int
) -> None:
    picture = torch.rand(1, 3, *source, generator=torch.Generator().manual_seed(0))
    plan = Resampling.plan(source, size=size)
    sheet = PlaneSink(size[0])
    before, rows.RESIZED_PIXELS = rows.RESIZED_PIXELS, strip
    try:
        resizing = ResizeSink(plan, Stopwatch(CPU), sheet)
        for top in range(0, source[0], piece):
            resizing(top, picture[:, :, top : top + piece])
    finally:
        rows.RESIZED_PIXELS = before
    assert torch.equal(sheet.planes, plan.rows(picture))


def test_what_waits_to_be_resized_is_a_few_rows_and_not_the_picture() -> None:
    plan = Resampling.plan((3000, 700), size=(4500, 1050))
    resizing = ResizeSink(plan, Stopwatch(CPU), lambda _top, _rows: None)
    waiting: list[int] = []
    for top in range(0, 3000, 50):
        resizing(top, torch.zeros(1, 3, 50, 700))
        assert resizing._kept is not None
        waiting.append(resizing._kept.shape[-2])
    assert max(waiting) < 1000
    assert waiting[-1] == 0
