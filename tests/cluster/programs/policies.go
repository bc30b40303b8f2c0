package main

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

// policiesCommand decides by the cluster's NetworkPolicies on each packet that the node's rules queue; node.py sets those
// rules, for the ones that the controller would set itself need a queue expression that not every kernel's nftables has.
func policiesCommand() *cobra.Command {
	var kubeconfig, node string
	var queue int
	command := &cobra.Command{Use: "network-policies", SilenceUsage: true, Args: cobra.NoArgs}
	command.RunE = func(command *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		informer := informers.NewSharedInformerFactory(client, 0)
		controller, err := networkpolicy.NewController(
			client,
			informer.Networking().V1().NetworkPolicies(),
			informer.Core().V1().Namespaces(),
			informer.Core().V1().Pods(),
			nil, nil, nil, nil,
			networkpolicy.Config{QueueID: queue, NodeName: node},
		)
		if err != nil {
			return err
		}
		informer.Start(ctx.Done())
		return controller.Run(ctx)
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "who it is at the API server")
	command.Flags().StringVar(&node, "node", "", "whose pods it decides for")
	command.Flags().IntVar(&queue, "queue", 100, "the number that the node's rules queue to")
	return command
}
