// Judges a Secret as Kueue's MultiKueue does for a MultiKueueCluster whose kubeconfig is in a Secret.
// A change is followed as MultiKueue follows it: the configuration is loaded again and the client is rebuilt, but
// only where the configuration is another one.
//
// MultiKueue exports nothing below its controllers, and those want Kueue's own kinds of objects in both clusters.
// So the functions that load, check and use a Secret are taken by their names in the package. The declarations here
// have to match theirs; go.mod pins the version that they match.
package main

import (
	"context"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/go-logr/logr"
	authentication "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	kueue "sigs.k8s.io/kueue/apis/kueue/v1beta2"
	"sigs.k8s.io/kueue/pkg/controller/admissionchecks/multikueue"
	"sigs.k8s.io/kueue/pkg/controller/jobframework"
	"sigs.k8s.io/kueue/pkg/util/roletracker"

	"kubemint.dev/tests/consumers/judge"
)

type (
	clustersReconciler struct{ _ byte }

	clientConfig struct {
		Kubeconfig []byte
		RestConfig *rest.Config
	}

	clusterProfileCreds interface {
		BuildConfigFromCP(*inventory.ClusterProfile) (*rest.Config, error)
	}
)

//go:linkname newClustersReconciler sigs.k8s.io/kueue/pkg/controller/admissionchecks/multikueue.newClustersReconciler
func newClustersReconciler(local client.Client, namespace string, collect time.Duration, origin string,
	watcher *multikueue.KubeConfigFSWatcher, adapters map[string]jobframework.MultiKueueAdapter,
	credentials clusterProfileCreds, tracker *roletracker.RoleTracker) *clustersReconciler

//go:linkname loadClientConfig sigs.k8s.io/kueue/pkg/controller/admissionchecks/multikueue.(*clustersReconciler).loadClientConfig
func loadClientConfig(*clustersReconciler, context.Context, *kueue.MultiKueueCluster) (*clientConfig, string, error)

//go:linkname newClientWithWatch sigs.k8s.io/kueue/pkg/controller/admissionchecks/multikueue.newClientWithWatch
func newClientWithWatch(*clientConfig, client.Options) (client.WithWatch, error)

func open(_ context.Context, arguments judge.Arguments) (judge.Follow, error) {
	config, err := arguments.HubConfig()
	if err != nil {
		return nil, err
	}
	hub, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	reconciler := newClustersReconciler(hub, arguments.Namespace, 0, "multikueue", nil, nil, nil, nil)
	cluster := &kueue.MultiKueueCluster{}
	cluster.Spec.ClusterSource.KubeConfig = &kueue.KubeConfig{
		LocationType: kueue.SecretLocationType,
		Location:     arguments.Secret,
	}

	var used *clientConfig
	var target client.Client
	var server string
	return func(ctx context.Context) (judge.Connection, error) {
		loaded, _, err := loadClientConfig(reconciler, ctx, cluster)
		if err != nil {
			// A Secret that can't be loaded takes the cluster out, with the client that worked until now.
			used, target = nil, nil
			return judge.Connection{}, err
		}
		if !equality.Semantic.DeepEqual(loaded, used) {
			target, err = newClientWithWatch(loaded, client.Options{Scheme: hub.Scheme()})
			if err != nil {
				return judge.Connection{}, err
			}
			// Only for the line: the client does not say where it goes.
			config, err := clientcmd.RESTConfigFromKubeConfig(loaded.Kubeconfig)
			if err != nil {
				return judge.Connection{}, err
			}
			used, server = loaded, config.Host
		}
		target := target
		return judge.Connection{
			Server: server,
			Review: func(ctx context.Context, review *authentication.SelfSubjectReview) error {
				return target.Create(ctx, review)
			},
		}, nil
	}, nil
}

func main() {
	// The client library complains where nobody says what becomes of its log.
	log.SetLogger(logr.Discard())
	judge.Main(judge.Consumer{Name: "kueue", Module: "sigs.k8s.io/kueue", Open: open})
}
