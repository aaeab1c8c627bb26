"""The platform's class, which PlatformIO finds by its name."""

from platformio.platform.base import PlatformBase


class AtmelavrPlatform(PlatformBase):
    """A platform whose firmware does not run on the computer that builds it."""

    def is_embedded(self) -> bool:
        return True
