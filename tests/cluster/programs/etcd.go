package main

import (
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// etcdCommand runs the only member of an etcd; nothing in it has to outlive the machine, so nothing waits for a disk.
func etcdCommand() *cobra.Command {
	var directory, client, peer string
	command := &cobra.Command{Use: "etcd", SilenceUsage: true, Args: cobra.NoArgs}
	command.RunE = func(*cobra.Command, []string) error {
		config := embed.NewConfig()
		config.Dir = directory
		config.LogLevel = "warn"
		config.UnsafeNoFsync = true
		clients, err := url.Parse(client)
		if err != nil {
			return err
		}
		peers, err := url.Parse(peer)
		if err != nil {
			return err
		}
		config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clients}, []url.URL{*clients}
		config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peers}, []url.URL{*peers}
		config.InitialCluster = config.InitialClusterFromName(config.Name)
		member, err := embed.StartEtcd(config)
		if err != nil {
			return err
		}
		stopped := make(chan os.Signal, 1)
		signal.Notify(stopped, syscall.SIGINT, syscall.SIGTERM)
		select {
		case <-stopped:
			member.Close()
			return nil
		case err := <-member.Err():
			return err
		}
	}
	command.Flags().StringVar(&directory, "data-dir", "etcd", "where it keeps its data")
	command.Flags().StringVar(&client, "client", "http://127.0.0.1:2379", "where clients reach it")
	command.Flags().StringVar(&peer, "peer", "http://127.0.0.1:2380", "where other members would")
	return command
}
