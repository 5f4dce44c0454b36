"""HTTP: the API, the event streams, the OpenAI surface and the page."""
