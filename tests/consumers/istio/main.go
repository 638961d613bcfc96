// Judges a Secret as istiod does: the controller for remote Secrets, with its checks of what is in one.
// A change is followed as istiod follows it: its informer brings it, and another kubeconfig makes another client.
package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/krt"
	"istio.io/istio/pkg/kube/multicluster"
	"istio.io/istio/pkg/log"
	"k8s.io/client-go/rest"

	"kubemint.dev/tests/consumers/judge"
)

// self is what istiod calls the cluster that it runs in, unless it is told another name.
const self = "Kubernetes"

// built is what istiod made of one entry of a Secret.
type built struct {
	text   []byte
	client kube.Client
	err    error
}

func open(ctx context.Context, arguments judge.Arguments) (judge.Follow, error) {
	options := log.DefaultOptions()
	options.OutputPaths = []string{"stderr"}
	// Only what is fatal: an account without rights makes every informer of istiod complain, again and again.
	options.SetDefaultOutputLevel(log.OverrideScopeName, log.FatalLevel)
	if err := log.Configure(options); err != nil {
		return nil, err
	}

	config, err := arguments.HubConfig()
	if err != nil {
		return nil, err
	}
	hub, err := kube.NewClient(kube.NewClientConfigForRestConfig(kube.SetRestDefaults(config)), self)
	if err != nil {
		return nil, err
	}

	var lock sync.Mutex
	clusters := map[string]built{}
	opts := krt.NewOptionsBuilder(ctx.Done(), "kubemint", nil)
	controller := multicluster.NewController(multicluster.ControllerOptions{
		Client:          kube.EnableCrdWatcher(hub),
		ClusterID:       self,
		SystemNamespace: arguments.Namespace,
		MeshConfig:      meshwatcher.ConfigAdapter(meshwatcher.NewCollection(opts)),
		// The controller only logs why it refuses a kubeconfig: its own builder, wrapped, says it.
		ClientBuilder: func(text []byte, id cluster.ID, overrides ...func(*rest.Config)) (kube.Client, error) {
			client, err := multicluster.DefaultBuildClientsFromConfig(text, id, overrides...)
			lock.Lock()
			defer lock.Unlock()
			clusters[string(id)] = built{text, client, err}
			return client, err
		},
	})
	if err := controller.Run(ctx.Done()); err != nil {
		return nil, err
	}
	go hub.RunAndWait(ctx.Done())

	return func(ctx context.Context) (judge.Connection, error) {
		secret, err := arguments.Live(ctx, hub.Kube().CoreV1())
		if err != nil {
			return judge.Connection{}, err
		}
		// Every key is a cluster to istiod. This program makes one request, so it wants one cluster.
		ids := slices.Sorted(maps.Keys(secret.Data))
		if len(ids) != 1 {
			return judge.Connection{}, fmt.Errorf("the Secret stands for %d clusters: %q", len(ids), ids)
		}
		id := ids[0]
		var found built
		err = judge.Until(ctx, "istiod has no cluster of this Secret (it wants its label, and a name that neither istiod itself nor another Secret has)", func() (bool, error) {
			lock.Lock()
			defer lock.Unlock()
			found = clusters[id]
			if found.err != nil && bytes.Equal(found.text, secret.Data[id]) {
				return false, found.err
			}
			// Of this Secret, that is: with two Secrets for one cluster istiod ignores the second.
			kept := controller.ClusterStore().Get(secret.Namespace+"/"+secret.Name, cluster.ID(id))
			return kept != nil && kept.Client == found.client && bytes.Equal(found.text, secret.Data[id]), nil
		})
		if err != nil {
			return judge.Connection{}, err
		}
		return judge.Connect(found.client.RESTConfig(), nil)
	}, nil
}

func main() {
	judge.Main(judge.Consumer{Name: "istio", Module: "istio.io/istio", Open: open})
}
