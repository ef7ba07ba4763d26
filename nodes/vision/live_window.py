"""A window that shows pictures and hears keys.

By pygame (SDL) rather than OpenCV: the opencv-python wheel needs the system's libGL merely to be imported, which a bare
Debian lacks, and ends the whole process when there is no display; the headless wheel has no window at all. pygame's wheel
brings what it needs, and says when there is no display. Must be used by the process's main thread (macOS demands it).
"""

from __future__ import annotations

import os
import sys
from typing import Protocol

from nodes.vision.video_read import Picture
from wfe import Refuse


class NoDisplay(Refuse):
    """No window can be opened here; the message says why."""


class Display(Protocol):
    """Shows pictures to a person, who answers with keys."""

    def show(self, picture: Picture, recording: bool) -> None:
        """Show a BGR picture."""
        ...

    def pressed(self) -> list[str]:
        """The keys pressed since the last call: "q" and "s"."""
        ...

    def close(self) -> None: ...


class Nothing:
    """Shows nothing and hears nothing."""

    def show(self, picture: Picture, recording: bool) -> None:
        pass

    def pressed(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


class Window:
    """A window of the desktop; it can be resized, and the picture keeps its proportions."""

    def __init__(self, title: str) -> None:
        """Raises NoDisplay when there is no display, or pygame is not installed."""
        if sys.platform not in ("win32", "darwin") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise NoDisplay("neither DISPLAY nor WAYLAND_DISPLAY is set, so there is no screen to open a window on")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            raise NoDisplay(f"pygame cannot be imported ({error}); install pygame-ce") from error
        try:
            pygame.display.init()
        except pygame.error as error:
            raise NoDisplay(f"the display cannot be used: {error}") from error
        if pygame.display.get_driver() in ("dummy", "offscreen"):
            pygame.display.quit()
            raise NoDisplay("SDL finds no display that anyone could see")
        self._pygame = pygame
        self._title = title
        self._surface: pygame.Surface | None = None

    def show(self, picture: Picture, recording: bool) -> None:
        pygame = self._pygame
        height, width = picture.shape[:2]
        if self._surface is None:
            self._surface = pygame.display.set_mode((width, height), pygame.RESIZABLE)
        pygame.display.set_caption(self._title + (" [recording]" if recording else ""))
        drawn = pygame.image.frombuffer(picture.tobytes(), (width, height), "BGR")
        wide, high = self._surface.get_size()
        if (wide, high) != (width, height):
            scale = min(wide / width, high / height)
            drawn = pygame.transform.scale(drawn, (max(1, round(width * scale)), max(1, round(height * scale))))
            self._surface.fill((0, 0, 0))
        self._surface.blit(drawn, ((wide - drawn.get_width()) // 2, (high - drawn.get_height()) // 2))
        pygame.display.flip()

    def pressed(self) -> list[str]:
        pygame = self._pygame
        pressed = []
        for event in pygame.event.get():
            if event.type == pygame.QUIT or (
                event.type == pygame.KEYDOWN and event.key in (pygame.K_q, pygame.K_ESCAPE)
            ):
                pressed.append("q")
            elif event.type == pygame.KEYDOWN and event.key == pygame.K_s:
                pressed.append("s")
        return pressed

    def close(self) -> None:
        self._pygame.display.quit()
