"""An adapter in Python that handles everything, and passes everything on to its base."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parents[2] / "examples/plugins/gate"))

import icrelay  # noqa: E402


class PassOn(icrelay.Route):
    async def started(self):
        self.window = self.base_window

    async def open(self, request):
        return await self.base.Open(request)

    async def message(self, request):
        return await self.base.Message(request)

    async def close(self, request):
        return await self.base.Close(request)

    async def check(self, request):
        return await self.base.Check(request)

    async def poll(self, request):
        async for part in self.base.Poll(request):
            yield part

    async def watch(self, request):
        async for event in self.base.Watch(request):
            yield event


icrelay.serve(PassOn)
