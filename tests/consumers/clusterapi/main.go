// Judges a Secret as Cluster API's controllers do: their cache of Secrets, their reading of the kubeconfig of a
// Cluster, and what their ClusterCache makes of it.
// A change is followed as ClusterCache follows it: it keeps its connection, and reads the Secret again only when the
// cluster answers that it does not know the credential.
package main

import (
	"context"
	"fmt"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/go-logr/logr"
	authentication "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	_ "sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/core/setup"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"kubemint.dev/tests/consumers/judge"
)

// clientConfig has the fields that createRESTConfig reads, in their order.
type clientConfig struct {
	Timeout   time.Duration
	QPS       float32
	Burst     int
	UserAgent string
}

// createRESTConfig is behind a ClusterCache that wants a Cluster object on the hub, so it is taken by its name there.
//
//go:linkname createRESTConfig sigs.k8s.io/cluster-api/controllers/clustercache.createRESTConfig
func createRESTConfig(context.Context, *clientConfig, client.Reader, client.ObjectKey) (*rest.Config, error)

func open(ctx context.Context, arguments judge.Arguments) (judge.Follow, error) {
	config, err := arguments.HubConfig()
	if err != nil {
		return nil, err
	}
	// The cluster's name is in the name of the Secret: Cluster API finds the Secret by it, and by nothing else.
	name, purpose, err := secret.ParseSecretName(arguments.Secret)
	if err != nil {
		return nil, err
	}
	if purpose != secret.Kubeconfig {
		return nil, fmt.Errorf("%q is the name of no kubeconfig Secret", arguments.Secret)
	}
	secrets, err := cache.New(config, setup.ManagerCacheOptions(scheme.Scheme, "kubemint", arguments.Namespace, 10*time.Minute))
	if err != nil {
		return nil, err
	}
	go secrets.Start(ctx)
	if !secrets.WaitForCacheSync(ctx) {
		return nil, ctx.Err()
	}

	cluster := client.ObjectKey{Namespace: arguments.Namespace, Name: name}
	connect := func(ctx context.Context) (judge.Connection, error) {
		config, err := createRESTConfig(ctx, &clientConfig{Timeout: judge.Patience, QPS: 20, Burst: 30}, secrets, cluster)
		if err != nil {
			return judge.Connection{}, err
		}
		return judge.Connect(config, nil)
	}

	var kept *judge.Connection
	return func(ctx context.Context) (judge.Connection, error) {
		if kept == nil {
			connection, err := connect(ctx)
			if err != nil {
				return connection, err
			}
			kept = &connection
		}
		// What the probe of ClusterCache does every ten seconds is done before each request.
		err := kept.Review(ctx, &authentication.SelfSubjectReview{})
		if !apierrors.IsUnauthorized(err) {
			return *kept, nil
		}
		kept = nil
		var connection judge.Connection
		err = judge.Until(ctx, "the cluster still answers that it does not know the credential", func() (bool, error) {
			connection, err = connect(ctx)
			if err != nil {
				return false, err
			}
			err = connection.Review(ctx, &authentication.SelfSubjectReview{})
			return !apierrors.IsUnauthorized(err), nil
		})
		if err != nil {
			return judge.Connection{}, err
		}
		kept = &connection
		return connection, nil
	}, nil
}

func main() {
	// The client library complains where nobody says what becomes of its log.
	log.SetLogger(logr.Discard())
	judge.Main(judge.Consumer{Name: "clusterapi", Module: "sigs.k8s.io/cluster-api", Open: open})
}
