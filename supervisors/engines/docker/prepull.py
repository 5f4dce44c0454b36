"""Fetching images in the background when the router starts, so that nobody's first start has to wait for it."""

from domain.backends.definition import Backend
from supervisors.engines.docker.images import Images, names_of
from supervisors.engines.protocol import EngineError


class Prepull:
    """`status` tells of each image: `pulling`, `present` (it was there), `ok` (it was pulled) or `failed: ...`."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.status: dict[str, str] = {}

    async def fetch(self, backend: Backend) -> None:
        """Have the image of one backend present. A failure is noted, not raised: the first start tries again."""
        image = names_of(backend)[-1]
        self.status[image] = "pulling"
        try:
            if await self._images.find(names_of(backend)):
                self.status[image] = "present"
            else:
                await self._images.ensure(backend, lambda _done, _detail: None)
                self.status[image] = "ok"
        except EngineError as error:
            self.status[image] = f"failed: {error}"
