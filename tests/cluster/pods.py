"""Which pod a container is, as the cluster has it."""

from cluster.kubectl import Kubectl

from tfnz_notebook.container import Container

LABEL = "io.tfnz.container"


def pod_of(kubectl: Kubectl, box: Container) -> str:
    """Its name."""
    found = kubectl("get", "pods", f"--selector={LABEL}={box.id}", "--output=name")
    return found.removeprefix("pod/")


def node_of(kubectl: Kubectl, box: Container) -> str:
    """The node that it is on."""
    return str(kubectl.get(f"pod/{pod_of(kubectl, box)}")["spec"]["nodeName"])
