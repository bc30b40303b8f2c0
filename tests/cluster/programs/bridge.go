package main

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netns"
)

// bridgeCommand listens where it is started, and connects from within another network namespace: the only way from this
// machine's loopback into the cluster, which has no link to any network of the machine.
func bridgeCommand() *cobra.Command {
	var listen, namespace, to string
	command := &cobra.Command{Use: "bridge", SilenceUsage: true, Args: cobra.NoArgs}
	command.RunE = func(*cobra.Command, []string) error {
		inside, err := netns.GetFromPath(namespace)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		for {
			outer, err := listener.Accept()
			if err != nil {
				return err
			}
			go join(outer.(*net.TCPConn), inside, to)
		}
	}
	command.Flags().StringVar(&listen, "listen", "", "the address here")
	command.Flags().StringVar(&namespace, "namespace", "", "path of the network namespace to connect from")
	command.Flags().StringVar(&to, "to", "", "the address there")
	return command
}

func join(outer *net.TCPConn, inside netns.NsHandle, to string) {
	defer outer.Close()
	inner, err := dial(inside, to)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer inner.Close()
	ends := make(chan error, 2)
	pass := func(to, from *net.TCPConn) {
		_, err := io.Copy(to, from)
		if err == nil {
			err = to.CloseWrite()
		}
		ends <- err
	}
	go pass(inner, outer)
	go pass(outer, inner)
	if err := <-ends; err == nil { // one that closed its half may still be told things; a broken one may not
		<-ends
	}
}

// dial has a thread of its own: a socket belongs to the namespace of the thread that makes it, and a goroutine that ends
// without unlocking its thread takes the thread with it.
func dial(inside netns.NsHandle, to string) (*net.TCPConn, error) {
	type result struct {
		connection net.Conn
		err        error
	}
	results := make(chan result)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(inside); err != nil {
			results <- result{nil, err}
			return
		}
		connection, err := net.DialTimeout("tcp", to, 10*time.Second)
		results <- result{connection, err}
	}()
	dialled := <-results
	if dialled.err != nil {
		return nil, dialled.err
	}
	return dialled.connection.(*net.TCPConn), nil
}
