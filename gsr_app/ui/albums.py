"""Comparisons of several pictures, one after the other, as streams of albums."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.ui import compare
from gsr_app.ui.filelist import ListedFile
from gsr_app.ui.files import url_of
from gsr_app.ui.state import AppState
from gsr_app.viewer.comparison import CompareRequest
from gsr_app.viewer.contract import Album, AlbumPage
from gsr_app.viewer.results import assign_results

MOST_PICTURES = 24
MOST_RESULTS = 6 * MOST_PICTURES


def requests_of(
    request: CompareRequest, others: Sequence[ListedFile], results: Sequence[ListedFile]
) -> list[CompareRequest]:
    """A request for each picture, with the results that were made of it; one without a picture for results alone."""
    pictures = [Path(request.image)] if request.image else []
    pictures += [one.path for one in others]
    if len(pictures) > 1 and request.reference and not request.round_trip:
        raise InvalidArgument(
            "A reference belongs to one picture.",
            hint="Choose the round trip, or add references to the results: cat_GT.png for cat.png.",
        )
    assigned = assign_results([(one.path, one.name if one.is_own_name else "") for one in results], pictures)
    if request.round_trip and any(one.reference for one in assigned):
        raise InvalidArgument(
            "A round trip makes its own reference.", hint="Switch it off, or leave the reference out."
        )
    if not pictures:
        if not results:
            return [request]
        request = replace(request, methods=(), round_trip=False)
    return [
        replace(
            request,
            image=str(picture) if picture else None,
            results=one.results,
            reference=str(one.reference) if one.reference else request.reference,
        )
        for picture, one in zip(pictures or [None], assigned, strict=True)
    ]


def run_all(app: AppState, visitor: str, requests: Sequence[CompareRequest]) -> Iterator[Album]:
    """Compare picture after picture; an album at every update. It ends when stopped; closing it stops the work, too."""
    pages = [AlbumPage(Path(str(one.image)).name, url_of(Path(str(one.image)))) for one in requests]
    album = Album(secrets.token_urlsafe(12), tuple(pages))
    with app.runs.stoppable("compare", visitor) as run:
        for number, request in enumerate(requests):
            try:
                job = compare.prepare(app, request)
            except GsrError as error:
                raise InvalidArgument(f"{pages[number].title}: {error}", hint=error.hint) from None
            if run.is_stopped():
                return
            app.pictures.put(str(request.image), job.key)
            for scene in compare.compare(app, visitor, job):
                pages[number] = replace(pages[number], scene=scene)
                album = replace(album, pages=tuple(pages), number=number)
                if not scene.running:
                    for page in pages[: number + 1]:
                        app.albums.put(album, page.scene.run)
                    if run.is_stopped() or number == len(pages) - 1:
                        run.end()
                yield album
