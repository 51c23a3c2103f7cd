"""The HTTP service of an index: topics, pairs and pictures in; products, scores and reasons out. FastAPI on uvicorn."""
