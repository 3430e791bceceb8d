// Command outrider-kube is a whole Kubernetes in one executable: etcd, the
// control plane and the node agents, chosen by the first argument.
//
// Outrider starts its embedded management cluster, the demo's clusters and the
// clusters of the tests from it. Nothing of Kubernetes is changed here.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/component-base/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components maps the first argument to what it runs.
var components = map[string]func(){
	"etcd":               func() { etcdmain.Main(os.Args) },
	"apiserver":          command(apiserver.NewAPIServerCommand),
	"controller-manager": command(controllermanager.NewControllerManagerCommand),
	"scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":            command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"proxy":              command(proxy.NewProxyCommand),
	"version":            func() { fmt.Println(version.Get().GitVersion) },
}

func command(build func() *cobra.Command) func() {
	return func() { os.Exit(cli.Run(build())) }
}

func main() {
	if len(os.Args) > 1 {
		if run, known := components[os.Args[1]]; known {
			os.Args = append([]string{"kube-" + os.Args[1]}, os.Args[2:]...)
			run()
			return
		}
	}
	names := make([]string, 0, len(components))
	for name := range components {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintln(os.Stderr, "usage: outrider-kube", strings.Join(names, "|"), "[flags]")
	os.Exit(2)
}
