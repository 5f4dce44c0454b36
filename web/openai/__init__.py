"""The OpenAI surface: /v1, a raw ASGI path beside Quart, since it is the hot one."""
