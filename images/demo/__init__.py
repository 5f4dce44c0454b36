"""The demo agent: a small OpenAI-compatible server without a model behind it. It says so."""
