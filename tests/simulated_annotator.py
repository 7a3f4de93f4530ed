"""An annotator that answers over HTTP alone, as the page does, and knows the classes of the images that it sees."""

import hashlib
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np

from weakseg import codec

Truth = Mapping[str, np.ndarray]
"""Masks by what :func:`fingerprint` makes of their images."""


def fingerprint(image_HW3: np.ndarray) -> str:
    """Names an image by its pixels."""
    return hashlib.sha256(image_HW3.tobytes()).hexdigest()


class Annotator:
    """One annotator with a browser of their own.

    Args:
        link: The printed link.
        truth: What they know; an image that is not there gets class 0 everywhere.
        most: Stop after so many answers.
    """

    def __init__(self, link: str, truth: Truth | None = None, *, most: float = float("inf")) -> None:
        url = httpx.URL(link)
        self.base, self.token = f"{url.scheme}://{url.host}:{url.port}", url.fragment
        self.truth, self.most = truth or {}, most
        self.stop = threading.Event()
        self.acknowledged: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._masks: dict[str, np.ndarray | None] = {}

    def sign_in(self) -> httpx.Client:
        """A client with the session's cookie."""
        client = httpx.Client(base_url=self.base, headers={"origin": self.base}, timeout=30)
        response = client.post("/api/session", json={"token": self.token})
        assert response.status_code == 200, response.text
        return client

    def run(self) -> None:
        """Answer until told to stop; a server that is away is waited for."""
        client: httpx.Client | None = None
        while not self.stop.is_set() and len(self.acknowledged) < self.most:
            try:
                client = client or self.sign_in()
                if not self._image(client):
                    self.stop.wait(0.05)
            except httpx.TransportError:
                client = None
                self.stop.wait(0.05)

    def _image(self, client: httpx.Client) -> bool:
        """Answer what one image asks; whether there was one."""
        reply = client.get("/api/work", params={"images": 2})
        assert reply.status_code == 200, reply.text
        images = reply.json()["images"]
        for image in images[:1]:
            mask_HW = self._mask(client, image["image"], image["url"])
            for query in image["queries"]:
                answered = query["answer"] is not None and query["answer"]["class"] is not None
                if answered or self.stop.is_set() or len(self.acknowledged) >= self.most:
                    continue
                class_id = 0 if mask_HW is None else int(mask_HW[query["y"], query["x"]])
                before = None if query["answer"] is None else query["answer"]["id"]
                if not self._send(client, query["query"], class_id, before):
                    return True
        return bool(images)

    def _send(self, client: httpx.Client, query: str, class_id: int, replaces: str | None) -> bool:
        body = {"answers": [{"query": query, "class": class_id, "seconds": 1.0, "replaces": replaces}]}
        while True:
            reply = client.post("/api/answers", json=body)
            if reply.status_code == 200:
                self.acknowledged += reply.json()["answers"]
                return True
            if reply.status_code != 429:
                self.errors.append(reply.text)
                return False
            time.sleep(reply.json()["error"]["retry_after"])

    def _mask(self, client: httpx.Client, handle: str, url: str) -> np.ndarray | None:
        if self.truth and handle not in self._masks:
            image_HW3 = codec.decode_image(client.get(url).content)
            self._masks[handle] = self.truth.get(fingerprint(image_HW3))
        return self._masks.get(handle)


def start(annotators: list[Annotator]) -> list[threading.Thread]:
    """Let them work, each in a thread."""
    threads = [threading.Thread(target=annotator.run, daemon=True) for annotator in annotators]
    for thread in threads:
        thread.start()
    return threads
