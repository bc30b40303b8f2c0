"""Who we are to a cluster: what kubeconfigs, plugins and a pod's own account say."""
