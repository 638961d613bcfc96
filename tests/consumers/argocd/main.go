// Judges a Secret as Argo CD does: its informer on cluster Secrets, its reading of one, its client configuration.
// A change is followed as Argo CD follows it: the informer brings it, and the configuration is made anew.
package main

import (
	"cmp"
	"context"
	"fmt"
	"reflect"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/db"
	"github.com/argoproj/argo-cd/v3/util/settings"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"kubemint.dev/tests/consumers/judge"
)

func open(ctx context.Context, arguments judge.Arguments) (judge.Follow, error) {
	config, err := arguments.HubConfig()
	if err != nil {
		return nil, err
	}
	hub, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	informer, err := settings.NewClusterInformer(hub, arguments.Namespace)
	if err != nil {
		return nil, err
	}
	go informer.Run(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, ctx.Err()
	}

	return func(ctx context.Context) (judge.Connection, error) {
		secret, err := arguments.Live(ctx, hub.CoreV1())
		if err != nil {
			return judge.Connection{}, err
		}
		// The informer only logs why it cannot read a Secret: the same reading, called here, says it.
		wanted, err := db.SecretToCluster(secret)
		if err != nil {
			return judge.Connection{}, err
		}
		var cluster *v1alpha1.Cluster
		err = judge.Until(ctx, "the informer does not have this Secret (it lists only those with the label of clusters)", func() (bool, error) {
			// Argo CD takes any one of the Secrets with this server: with two of them, which one is chance.
			same, err := informer.GetIndexer().ByIndex(settings.ClusterCacheByURLIndexer, wanted.Server)
			if err != nil || len(same) > 1 {
				return false, cmp.Or(err, fmt.Errorf("%d Secrets are for the cluster %s", len(same), wanted.Server))
			}
			found, err := informer.GetClusterByURL(wanted.Server)
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			cluster = found
			return found.ObjectMeta.Name == secret.Name && reflect.DeepEqual(found.Config, wanted.Config), nil
		})
		if err != nil {
			return judge.Connection{}, err
		}
		target, err := cluster.RESTConfig()
		if err != nil {
			return judge.Connection{}, err
		}
		return judge.Connect(target, nil)
	}, nil
}

func main() {
	judge.Main(judge.Consumer{Name: "argocd", Module: "github.com/argoproj/argo-cd/v3", Open: open})
}
