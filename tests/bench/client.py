"""The official Python client in a process of its own: a line in, the seconds of one exec out.

Runs in an environment of its own and knows nothing of tfnz_notebook.
Usage: client.py KUBECONFIG NAMESPACE POD COMMAND…
"""

import sys
import time

from kubernetes import client, config
from kubernetes.stream import stream


def main(kubeconfig: str, namespace: str, pod: str, *command: str) -> None:
    """Answer until stdin ends."""
    config.load_kube_config(kubeconfig)
    ask = client.CoreV1Api().connect_get_namespaced_pod_exec
    channels = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
    for _ in sys.stdin:
        began = time.perf_counter()
        run = stream(ask, pod, namespace, command=list(command), **channels, _preload_content=False)
        run.run_forever(timeout=60)
        seconds = time.perf_counter() - began
        assert run.returncode == 0
        print(seconds, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
